"""Saliency: the largest slope of the score over a pixel's channels. Simonyan et al. 2014, arXiv:1312.6034."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1312.6034")
def saliency(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None) -> Tensor:
    """Absolute gradient of the score of y with respect to x, largest over the channels: (B, 1, H, W), not negative.

    In score per unit of pixel value; section 3.1 of the paper. y: classes (B,), meaning raw scores, or any target. A
    normalisation inside the model is part of it: the channel with the smallest std is favoured (for ImageNet by 2 %).
    All zero where the score does not depend on x, such as a SqueezeNet class whose last ReLU is closed everywhere.
    `gradient` keeps signs and channels. `draws` is not used.
    """
    with frozen(model):
        slope = score_gradient(model, x, as_target(y), all_rows(x))[1]
    return slope.abs().amax(1, keepdim=True)
