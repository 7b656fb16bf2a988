"""Insertion: how fast the score rises when the most important pixels come first. Petsiuk et al., arXiv:1806.07421."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.metrics.hiding import Curve, hiding_curve, pixel_ranks


def insertion(
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
    """The score while the pixels of x (B, C, H, W) appear on the hidden image in falling order of heat; large is good.

    Parameters as in `metrics.deletion.deletion`; "blur" is the paper's baseline (section 4.2). The first point is the
    score of the hidden image, the last that of x.
    """
    ranks = pixel_ranks(heat, draws)
    return hiding_curve(
        model, x, y, ranks, way="insert", steps=steps, baseline=baseline, sigma=sigma, normalise=normalise
    )
