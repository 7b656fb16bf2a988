"""Gradient: how the score changes with each pixel. Simonyan et al. 2014, arXiv:1312.6034, section 3."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1312.6034")
def gradient(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None) -> Tensor:
    """Signed gradient (B, C, H, W) of the score of y with respect to x, in score per unit of pixel value.

    y: classes (B,), meaning raw scores, or any target: a log-probability (minus what the other classes gain), a
    difference, a unit inside the network, a function of the output. A normalisation inside the model is part of it:
    each channel's gradient carries the factor 1 / std. All zero where the score does not depend on x, which is the
    truth and no failure: SqueezeNet ends in a ReLU before its mean, so that a class without any positive evidence has
    the score 0 everywhere around x. `draws` is not used.
    """
    with frozen(model):
        return score_gradient(model, x, as_target(y), all_rows(x))[1]
