"""Saliency: the gradient of the class score. Simonyan et al. 2014, arXiv:1312.6034, section 3."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import class_gradient, frozen
from advbench.registry import attribution


@attribution(paper="arXiv:1312.6034")
def saliency(model: nn.Module, x: Tensor, y: Tensor, *, draws: Draws | None = None) -> Tensor:
    """Signed gradient (B, C, H, W) of the raw score of y (B,) with respect to x, in logits per unit of pixel value.

    The paper draws its absolute value, maximal over the channels. A normalisation inside the model is part of it: each
    channel's gradient carries the factor 1 / std. All zero where the score does not depend on x (a class whose last
    ReLU is dead). `draws` is not used.
    """
    with frozen(model):
        return class_gradient(model, x, y)
