"""Heat maps as colours: signed maps around 0, the others from 0, on a scale that is said and can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
PERCENTILE = 99  # of the magnitudes: one hot pixel would blacken a map that is scaled by its largest value
SIGNED, UNSIGNED = "PuOr_r", "viridis"  # both are read alike with and without colour blindness
SMOOTH = 0.1  # mean step between neighbours over mean magnitude; pixel-wise gradients have about 1, CAMs below 0.05


@dataclass(frozen=True)
class Scale:
    """end: the magnitude at which the colours end. signed: around 0 in orange and purple, else from 0 in viridis."""

    end: float
    signed: bool

    @property
    def text(self) -> str:
        """The range in numbers: "-0.02 .. 0.02" or "0 .. 0.02"."""
        end = f"{self.end:.0f}" if 100 <= self.end < 1e5 else f"{self.end:.2g}"
        return f"-{end} .. {end}" if self.signed else f"0 .. {end}"

    @property
    def colours(self) -> str:
        """The name of the colour map."""
        return SIGNED if self.signed else UNSIGNED


def flat(heat: Array) -> Array:
    """(H, W): a map (C or 1, H, W) summed over channels; what is not finite becomes 0."""
    total: Array = np.nan_to_num(heat, nan=0.0, posinf=0.0, neginf=0.0).sum(0).astype(np.float32)
    return total


def scale_of(maps: Sequence[Array]) -> Scale:
    """One scale for all of `maps` (any shapes): signed if any value is negative; it ends at the 99th percentile."""
    values = np.concatenate([np.nan_to_num(heat).ravel() for heat in maps]) if maps else np.zeros(1, np.float32)
    magnitudes = np.abs(values)
    end = float(np.percentile(magnitudes, PERCENTILE)) if magnitudes.size else 0.0
    # A map that is 0 nearly everywhere (one patch of evidence) is drawn up to its largest value.
    end = end or float(magnitudes.max(initial=0.0))
    return Scale(end or 1.0, bool((values < 0).any()))


def painted(values: Array, scale: Scale) -> Array:
    """(H, W, 3) colours of a map (H, W); values beyond the scale have its last colour."""
    return np.asarray(mpl.colormaps[scale.colours](_level(values, scale))[..., :3], dtype=np.float32)


def overlaid(image: Array, values: Array, scale: Scale) -> Array:
    """(H, W, 3): the map (H, W) over the grey image (C, H, W), the more opaque the stronger the evidence."""
    grey = np.clip(image.mean(0), 0, 1)[..., None]
    strength = np.clip(np.abs(values) / scale.end, 0, 1)[..., None]
    opacity = 0.15 + 0.65 * strength
    return np.asarray((1 - opacity) * grey + opacity * painted(values, scale), dtype=np.float32)


def coloured(heat: Array) -> Array:
    """(H, W, 3): a map (3, H, W) as a picture, 0 as grey, its own 99th percentile as the ends of each channel."""
    end = scale_of([heat]).end
    return np.asarray(np.clip(0.5 + np.nan_to_num(heat) / (2 * end), 0, 1).transpose(1, 2, 0), dtype=np.float32)


def photograph(image: Array) -> Array:
    """(H, W, 3): an image (C, H, W) in [0, 1]; three channels are colours, other counts show their mean as grey."""
    shown = np.clip(np.nan_to_num(image), 0, 1)
    channels = shown if len(shown) == 3 else np.repeat(shown.mean(0, keepdims=True), 3, 0)
    return np.asarray(channels.transpose(1, 2, 0), dtype=np.float32)


def is_smooth(maps: Sequence[Array]) -> bool:
    """Are the maps (H, W) coarse ones made large, such as CAMs, so that they are best read over the image?"""
    steps = magnitude = 0.0
    for values in maps:
        steps += sum(float(np.abs(np.diff(values, axis=axis)).sum()) for axis in (0, 1)) / 2
        magnitude += float(np.abs(values).sum())
    return steps < SMOOTH * magnitude


def whereabouts(values: Array) -> str:
    """Where the positive evidence of a map (H, W) lies, in words, for people who do not see the picture."""
    positive = np.clip(values, 0, None).astype(np.float64)
    total = positive.sum()
    if not total:
        return "no evidence for it"
    height, width = values.shape
    row = float((positive.sum(1) * (np.arange(height) + 0.5)).sum() / total) / height
    column = float((positive.sum(0) * (np.arange(width) + 0.5)).sum() / total) / width
    ordered = np.sort(positive.ravel())[::-1].cumsum()
    share = (int(np.searchsorted(ordered, total / 2)) + 1) / positive.size
    return f"centre of the evidence {column:.0%} from the left and {row:.0%} from the top; half of it on {share:.0%}"


def _level(values: Array, scale: Scale) -> Array:
    level = 0.5 + values / (2 * scale.end) if scale.signed else values / scale.end
    return np.asarray(np.clip(np.nan_to_num(level), 0, 1), dtype=np.float32)
