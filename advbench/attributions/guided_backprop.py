"""Guided backpropagation: only positive signals pass an open ReLU. Springenberg et al. 2015, arXiv:1412.6806."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.relu_rules import guided, relu_rule
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1412.6806", needs="relu")
def guided_backprop(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None) -> Tensor:
    """What of the score of y comes down to x (B, C, H, W) where each open ReLU passes positive signals only; signed.

    Like the gradient, in score per unit of pixel value, but with max(g, 0) in place of g at every ReLU that was open
    (section 3.4 of the paper), functional, in-place and reused ones and clamps at 0 included; the first layer can still
    give negative values. Equal to the gradient where nothing negative comes down. Max pooling passes signals as
    backpropagation does (see `deconvnet`). It shows the edges near a unit, hardly which class they speak for: it
    survives random weights in the upper layers (arXiv:1810.03292) and nearly restores the image (arXiv:1805.07039).

    y: classes (B,), meaning raw scores, or any target; a unit behind a ReLU must be positive. All zero for a SqueezeNet
    class whose last ReLU is closed everywhere. `draws` is not used. Raises ConfigError for a model with an activation
    such as GELU, and for one that calls no ReLU (tanh throughout), where it would be the gradient.
    """
    with frozen(model), relu_rule(guided, "guided_backprop"):
        return score_gradient(model, x, as_target(y), all_rows(x))[1]
