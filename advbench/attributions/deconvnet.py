"""Deconvnet: from a score back to the image, with a ReLU on the way down. Zeiler and Fergus 2014, arXiv:1311.2901."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.relu_rules import deconvolution, relu_rule
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1311.2901", needs="relu")
def deconvnet(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None) -> Tensor:
    """What of the score of y comes down to x (B, C, H, W) where each ReLU is applied to the signal instead; signed.

    Section 2.1 of the paper: filters are transposed, biases left out, max pooling sends the signal to the recorded
    place of the maximum (its switch), and every ReLU, functional, in-place and reused ones and clamps at 0 included,
    passes max(g, 0) whether it was open or not. So the image acts through the switches alone: without max pooling the
    map of a linear head is the same for all images. Where pooling windows overlap and share a maximum (kernel 3, stride
    2 in AlexNet, SqueezeNet and the stem of ResNet) their signals add up, as in backpropagation; `MaxUnpool2d` would
    keep one.

    y: classes (B,), meaning raw scores, or any target ("features.3:17@max": the strongest unit of a channel, as in the
    paper). Not zero even for a SqueezeNet class whose last ReLU is closed: what was open does not matter. `draws` is
    not used. Raises ConfigError for a model with an activation such as GELU, and for one that calls no ReLU.
    """
    with frozen(model), relu_rule(deconvolution, "deconvnet"):
        return score_gradient(model, x, as_target(y), all_rows(x))[1]
