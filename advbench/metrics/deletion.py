"""Deletion: how fast the score falls when the most important pixels go first. Petsiuk et al. 2018, arXiv:1806.07421."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.metrics.hiding import Curve, hiding_curve, pixel_ranks


def deletion(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    heat: Tensor,
    *,
    draws: Draws | None = None,
    steps: int = 50,
    baseline: float | str = "surroundings",
    sigma: float = 10.0,
    normalise: bool = False,
) -> Curve:
    """The score of x (B, C, H, W) while its pixels are hidden in falling order of heat; a small area is good.

    y: classes (B,), meaning their probability as in the paper (section 4.2), or a target. heat (B, 1 or C, H, W):
    channels are summed as they stand, so take absolute values of a gradient first. steps: equal shares of the pixels,
    the curve has one point more: the first is the score of x, the last that of the hidden image. baseline: a number in
    input units (0.5: grey), "mean", "blur" with standard deviation `sigma` pixels, or "surroundings": filled in from
    what is still seen (`core.fill_in`), so that the mask itself shows as little as possible. With the others, scattered
    pixels make a pattern that networks take badly whatever it hides, and a random map does well. normalise: 1 is the
    score of x and 0 that of the hidden image, clipped, so that any score has an area in [0, 1]; nan where x scores no
    higher. Equal pixels go in a random order from `draws`. The model is left as it came.
    """
    ranks = pixel_ranks(heat, draws)
    return hiding_curve(
        model, x, y, ranks, way="delete", steps=steps, baseline=baseline, sigma=sigma, normalise=normalise
    )
