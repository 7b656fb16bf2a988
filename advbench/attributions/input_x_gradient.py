"""Input times gradient: a pixel's share of a locally linear score. Shrikumar et al. 2016, arXiv:1605.01713."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1605.01713")
def input_x_gradient(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None) -> Tensor:
    """x times the gradient of the score of y: (B, C, H, W), signed, in units of the score.

    The map sums to the score where the network is linear around x and has no biases; a normalisation inside the model
    is such a bias, and a black pixel always gets 0: `integrated_gradients` is complete for every network. y: classes
    (B,), meaning raw scores, or any target. All zero for a SqueezeNet class whose last ReLU is closed everywhere.
    `draws` is not used.
    """
    with frozen(model):
        return x.detach() * score_gradient(model, x, as_target(y), all_rows(x))[1]
