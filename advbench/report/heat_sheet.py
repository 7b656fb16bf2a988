"""Heat maps beside their images, as one PNG: a row per sample."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from advbench.bench.grid import pixels
from advbench.report.text import visible
from advbench.store import atomic_write


def write_heat_sheet(path: Path, x: Tensor, heat: Tensor, titles: Sequence[str], method: str) -> None:
    """Draw x (B, C, H, W) in [0, 1], heat (B, 1 or C, H, W) and the one over the other, with a title per sample.

    Channels are summed. A map with negative values is drawn around 0 in orange (for the class) and purple (against
    it), another from dark (0) to light; each row's scale ends at the 99th percentile of its magnitudes and is printed.
    """
    figure = Figure(figsize=(7.2, 2.4 * len(x)), layout="constrained")
    axes = figure.subplots(len(x), 3, squeeze=False)
    for row, image, values, title in zip(axes, x, heat.sum(1), titles, strict=True):
        flat: NDArray[np.float32] = values.cpu().numpy()
        end = max(float(np.percentile(np.abs(flat), 99)), 1e-12)
        signed = float(flat.min()) < 0
        scale = {"cmap": "PuOr_r" if signed else "viridis", "vmin": -end if signed else 0.0, "vmax": end}
        shown_image = pixels(image)
        row[0].imshow(shown_image, vmin=0, vmax=1, cmap="gray", interpolation="nearest")
        row[0].set_title(visible(title), fontsize=8, loc="left", parse_math=False)
        shown = row[1].imshow(flat, interpolation="nearest", **scale)
        row[1].set_title(f"{method}, channels summed", fontsize=8, loc="left")
        figure.colorbar(shown, ax=row[1], fraction=0.046, pad=0.03).ax.tick_params(labelsize=6)
        row[2].imshow(shown_image.mean(-1) if shown_image.ndim == 3 else shown_image, vmin=0, vmax=1, cmap="gray")
        row[2].imshow(flat, alpha=0.6, interpolation="nearest", **scale)
        row[2].set_title("over the image", fontsize=8, loc="left")
        for axis in row:
            axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))
