"""Photograph or painting? The two critics of CAST's domain enhancement, Zhang et al. 2022, arXiv:2205.09542.

A critic learns to tell pictures of its domain from pictures made to belong there, patch by patch; the maker learns to
be taken for real. Both losses are least squares (Mao et al. 2017, arXiv:1611.04076), which do not saturate.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

_WIDTHS = (3, 16, 32, 64)  # a quarter of the usual critic of patches: there are hundreds of images, not ten thousands
_LEAK = 0.2


class Critic(nn.Module):
    """Images (B, 3, H, W) to a score for each patch of 38 pixels, (B, 1, H / 8, W / 8): 1 means of the domain."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(*widths, 4, stride=2, padding=1) for widths in pairwise(_WIDTHS))
        self.last = nn.Conv2d(_WIDTHS[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = 2.0 * x - 1.0
        for conv in self.convs:
            y = functional.leaky_relu(conv(y), _LEAK)
        score: Tensor = self.last(y)
        return score


def critic_loss(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    """() for the critic alone: 0 if it gives 1 to real (B, 3, H, W) and 0 to made. No gradient reaches `made`."""
    of_real: Tensor = (critic(real) - 1.0).square().mean()
    of_made: Tensor = critic(made.detach()).square().mean()
    return 0.5 * (of_real + of_made)


def maker_loss(critic: nn.Module, made: Tensor) -> Tensor:
    """() for the maker of made (B, 3, H, W) alone: 0 if the critic gives 1. No gradient reaches the critic's weights.

    Both losses can thus be added, and one step lowers each for its own weights.
    """
    weights = {name: weight.detach() for name, weight in critic.named_parameters()}
    score: Tensor = functional_call(critic, weights, (made,))
    return (score - 1.0).square().mean()
