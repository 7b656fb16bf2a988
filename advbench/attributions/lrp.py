"""Layer-wise relevance propagation: the score split by shares. Bach et al., doi:10.1371/journal.pone.0130140."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from advbench.core.activations import check_reached, record
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, frozen, in_pieces
from advbench.core.objectives import Objective
from advbench.core.relevance import Composite, first_inputs, relevance_rules
from advbench.core.relevance_rules import box_rule, epsilon_rule, gamma_rule, plus_rule
from advbench.core.scoring import all_rows, fitting_piece
from advbench.core.targets import Explained, Reading, Target, as_target
from advbench.registry import attribution
from advbench.types import ConfigError, Evaluation

_STABILISER = 1e-6  # keeps the z+, gamma and box rules from dividing by zero


@attribution(paper="doi:10.1371/journal.pone.0130140")
def lrp(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    composite: Literal["epsilon", "epsilon_plus", "epsilon_gamma", "epsilon_gamma_box"] = "epsilon_plus",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
) -> Tensor:
    """Relevance (B, C, H, W) of each value of x for the score of y: signed, in units of the score.

    Each layer splits the relevance of its outputs over its inputs by what they contributed. composite: the rules, after
    arXiv:1910.09840: "epsilon" for all layers (close to input times gradient); "epsilon_plus", epsilon for fully
    connected layers and z+ for convolutions; "epsilon_gamma", with the gamma rule for convolutions; and
    "epsilon_gamma_box", with the box rule for the first convolution, whose inputs are those of pixels in [0, 1].
    epsilon: added to the size of each output of an epsilon layer, in units of that output; gamma: how much more
    contributions with the sign of the output count (arXiv:1910.09840 uses 0.25).

    The map sums to the score for small epsilon in a network without biases; biases keep their share. A batch
    normalisation behind a convolution is one layer with it, any other passes relevance on, and so do activations and
    the normalisation of the input, so that relevance belongs to the normalised pixel. Max pooling hands it to the
    maximum, mean pooling and residual sums split it by size. y: classes (B,), meaning raw scores, or any target, which
    starts with value times derivative at each output it reads. All zero for a SqueezeNet class whose last ReLU is
    closed everywhere. `draws` is not used.

    Raises ConfigError for a model with a function that has no rule (attention, layer normalisation, products of
    activations: transformers, ConvNeXt, squeeze-and-excitation), for an unknown composite, and if epsilon or gamma is
    negative.
    """
    if composite not in _COMPOSITES:
        raise ConfigError(f"lrp: no composite {composite!r}; there are: {', '.join(_COMPOSITES)}")
    if not epsilon >= 0 or not gamma >= 0:
        raise ConfigError(f"lrp: epsilon and gamma must not be negative, got {epsilon:g} and {gamma:g}")
    if not len(x):
        return torch.zeros_like(x)
    with frozen(model), in_pieces(fitting_piece(x)):
        rules = _COMPOSITES[composite](model, x, epsilon, gamma)
        return backprop(_handed_down(model, as_target(y), rules), x, all_rows(x))[1].contiguous()


def _handed_down(model: nn.Module, target: Target, rules: Composite) -> Objective:
    """An objective whose gradient, under the rules, is the relevance of the image."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        with record(model, target.layers) as layers, relevance_rules(rules, "lrp"):
            output = model(z)
        check_reached(model, target.layers, layers)
        read = [output, *(layers[layer] for layer in target.layers)]
        leaves = [each.detach().requires_grad_(True) for each in read]
        score = target.read(Reading(leaves[0], dict(zip(target.layers, leaves[1:], strict=True)), rows))
        slopes = torch.autograd.grad(score.sum(), leaves, materialize_grads=True)
        # The derivative of a * (a s) with the bracket held fixed is a s, the relevance that a starts with.
        parts = [(a * (a.detach() * s)).flatten(1).sum(1) for a, s in zip(read, slopes, strict=True)]
        return Evaluation(torch.stack(parts).sum(0), torch.zeros(len(z), dtype=torch.bool, device=z.device))

    return objective


def _epsilon(model: nn.Module, x: Tensor, epsilon: float, gamma: float) -> Composite:
    return Composite(epsilon_rule(epsilon), epsilon_rule(epsilon), epsilon_rule(epsilon))


def _epsilon_plus(model: nn.Module, x: Tensor, epsilon: float, gamma: float) -> Composite:
    return Composite(plus_rule(_STABILISER), plus_rule(_STABILISER), epsilon_rule(epsilon))


def _epsilon_gamma(model: nn.Module, x: Tensor, epsilon: float, gamma: float) -> Composite:
    return Composite(gamma_rule(gamma, _STABILISER), gamma_rule(gamma, _STABILISER), epsilon_rule(epsilon))


def _epsilon_gamma_box(model: nn.Module, x: Tensor, epsilon: float, gamma: float) -> Composite:
    # The normalisation in front of the first convolution turns black and white into the ends of its range.
    ends = first_inputs(model, torch.stack([torch.zeros_like(x[0]), torch.ones_like(x[0])]))
    box = box_rule(ends.amin(0, keepdim=True), ends.amax(0, keepdim=True), _STABILISER)
    return Composite(gamma_rule(gamma, _STABILISER), box, epsilon_rule(epsilon))


_COMPOSITES: dict[str, Callable[[nn.Module, Tensor, float, float], Composite]] = {
    "epsilon": _epsilon,
    "epsilon_plus": _epsilon_plus,
    "epsilon_gamma": _epsilon_gamma,
    "epsilon_gamma_box": _epsilon_gamma_box,
}
