"""A turn and a change of scale in one look: one interpolation instead of two."""

from __future__ import annotations

import math

from torch import Tensor

from advbench.core.draws import Counter, Draws
from advbench.core.transforms import View, warp


def turned_and_scaled(degrees: float, low: float, high: float, *, fill: float = 0.5) -> View:
    """Turn about the centre by an angle uniform in [-degrees, degrees], enlarged by a factor uniform in [low, high].

    What is left empty shows `fill`. Raises ValueError unless 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ValueError(f"turned_and_scaled: need 0 < low <= high, got [{low}, {high}]")

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        angle = math.radians(degrees) * (2.0 * draws.uniform((), "rotate", counter) - 1.0)
        factor = low + (high - low) * draws.uniform((), "scale", counter)
        # Rolled images come with their colours side by side, in which order interpolation is slow.
        return warp(z.contiguous(), angle=angle, factor=factor, fill=fill)

    return view
