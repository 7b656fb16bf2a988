"""A picture of what an attack did: x, x_adv and ten times their difference, for the gallery of a cell."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from advbench.bench.cell_folder import CELL, GALLERY
from advbench.bench.export import printable
from advbench.bench.gallery import GROUPS
from advbench.store import atomic_write, read_json, read_tensors

AMPLIFIED = 10


def write_grid(cell: Path, target: Path) -> int:
    """Draw the gallery in the folder `cell` as the PNG file `target`, a row per sample; returns how many there are.

    Without a sample (every one misclassified at x) nothing is written.
    """
    shown = read_tensors(cell / GALLERY)
    rows = len(shown["x"])
    if not rows:
        return 0
    record = cast("dict[str, list[str]]", read_json(cell / CELL))
    figure = Figure(figsize=(6.5, 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False)
    for index in range(rows):
        x, x_adv = shown["x"][index], shown["x_adv"][index]
        pictures = (x, x_adv, (0.5 + AMPLIFIED * (x_adv - x)).clamp(0, 1))
        titles = (
            _title("x", shown["probabilities_clean"][index], record["classes"]),
            _title("x_adv", shown["probabilities_adv"][index], record["classes"]),
            f"{AMPLIFIED} x difference\n{GROUPS[int(shown['group'][index])]}",
        )
        for axis, picture, title in zip(axes[index], pictures, titles, strict=True):
            axis.imshow(pixels(picture), vmin=0, vmax=1, cmap="gray", interpolation="nearest")
            axis.set_title(title, fontsize=8, parse_math=False)
            axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    atomic_write(target, lambda file: file.write(buffer.getbuffer()))
    return rows


def _title(what: str, probabilities: Tensor, classes: Sequence[str]) -> str:
    share, best = probabilities.max(0)
    return f"{what}\n{printable(classes[int(best)])} {float(share):.1%}"


def pixels(image: Tensor) -> NDArray[np.float32]:
    """(H, W) for one channel, else the first three as (H, W, 3)."""
    array: NDArray[np.float32] = image.clamp(0, 1).numpy()
    return array[0] if len(array) < 3 else array[:3].transpose(1, 2, 0)
