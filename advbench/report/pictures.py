"""Stored images and heat maps as lossless PNG data URIs, pixel for pixel; enlarging is the page's work."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advbench.report.figures import data_uri

Array = NDArray[np.float32]
FACTOR = 10  # by which differences are enlarged


def picture(x: Array) -> str:
    """An image (C, H, W) in [0, 1] as a PNG; one channel is grey, three are colours, other counts show their mean."""
    pixels = np.rint(255 * np.clip(np.nan_to_num(x), 0, 1)).astype(np.uint8)
    if len(pixels) == 3:
        return _png(pixels.transpose(1, 2, 0))
    return _png(pixels[0] if len(pixels) == 1 else np.rint(pixels.mean(0)).astype(np.uint8))


def difference(x: Array, x_adv: Array) -> str:
    """FACTOR times x_adv - x around mid-grey, cut at black and white."""
    return picture(0.5 + FACTOR * (x_adv - x))


def map_pair(clean: Array, adversarial: Array) -> tuple[str, str]:
    """Two heat maps (1 or C, H, W) on one scale: its end is the 99th percentile of both magnitudes.

    Channels are summed. Maps with negative values are drawn around 0 in orange (positive) and purple (negative),
    others from dark (0) to light.
    """
    maps = [np.nan_to_num(m).sum(0) for m in (clean, adversarial)]
    end = max(float(np.percentile(np.abs(np.stack(maps)), 99)), 1e-12)
    signed = min(float(m.min()) for m in maps) < 0
    scale = mpl.colormaps["PuOr_r" if signed else "viridis"]
    levels = [0.5 + m / (2 * end) if signed else m / end for m in maps]
    first, second = (_png(scale(np.clip(v, 0, 1), bytes=True)[..., :3]) for v in levels)
    return first, second


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "png")
