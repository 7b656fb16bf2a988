"""How a linear layer splits the relevance of its outputs over its inputs: epsilon, gamma, z+ and box rules.

z_j = sum_i x_i w_ij + b_j. Every rule gives input i the share x_i w'_ij / z'_j of the relevance of output j, with its
own w'. What the bias contributes is kept by the bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """run(x, weight, bias): a function linear in x, and the weight and bias it is called with (None: it has none)."""

    run: Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
    weight: Tensor | None
    bias: Tensor | None

    def at(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Its output at x with another weight and bias, and the transposed layer: signal like the output -> like x."""
        leaf = x.detach().requires_grad_(True)
        with torch.enable_grad():
            z = self.run(leaf, weight, bias)
        return z.detach(), lambda signal: torch.autograd.grad(z, leaf, signal)[0]


Rule = Callable[[Layer, Tensor, Tensor], Tensor]  # (layer, its input, relevance of its output) -> of its input


def stabilised(z: Tensor, epsilon: float) -> Tensor:
    """z moved away from zero by epsilon; zero itself counts as positive."""
    return z + torch.where(z < 0, -epsilon, epsilon)


def epsilon_rule(epsilon: float) -> Rule:
    """w' = w; epsilon takes relevance away where the output is small. Bach et al. 2015, equation 58."""

    def rule(layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        z, back = layer.at(x, layer.weight, layer.bias)
        return x * back(relevance / stabilised(z, epsilon))

    return rule


def plus_rule(epsilon: float) -> Rule:
    """Only positive contributions x_i w_ij count, and a positive bias. Bach et al. 2015, equation 60 at alpha = 1."""

    def rule(layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        weight, bias = _weight(layer), layer.bias
        high, low = x.clamp_min(0.0), x.clamp_max(0.0)
        z, back = layer.at(high, weight.clamp_min(0.0), None if bias is None else bias.clamp_min(0.0))
        if not bool((low < 0).any()):
            return high * back(relevance / stabilised(z, epsilon))
        z_low, back_low = layer.at(low, weight.clamp_max(0.0), None)
        signal = relevance / stabilised(z + z_low, epsilon)
        return high * back(signal) + low * back_low(signal)

    return rule


def gamma_rule(gamma: float, epsilon: float) -> Rule:
    """Contributions with the sign of the output count 1 + gamma times. Montavon et al. 2019, Andeol et al. 2021."""

    def rule(layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        weight, bias = _weight(layer), layer.bias
        z = layer.run(x, weight, bias)
        up, down = weight + gamma * weight.clamp_min(0.0), weight + gamma * weight.clamp_max(0.0)
        b_up = None if bias is None else bias + gamma * bias.clamp_min(0.0)
        b_down = None if bias is None else bias + gamma * bias.clamp_max(0.0)
        high, low = x.clamp_min(0.0), x.clamp_max(0.0)
        total = torch.zeros_like(x)
        for open_, w_high, b_high, w_low in ((z > 0, up, b_up, down), (z < 0, down, b_down, up)):
            part, back = layer.at(high, w_high, b_high)
            part_low, back_low = layer.at(low, w_low, None)
            signal = open_ * relevance / stabilised(part + part_low, epsilon)
            total += high * back(signal) + low * back_low(signal)
        return total

    return rule


def box_rule(low: Tensor, high: Tensor, epsilon: float) -> Rule:
    """For inputs between low and high (1, C, H, W): x_i w_ij - low_i w_ij+ - high_i w_ij-, never negative.

    Montavon et al. 2017, arXiv:1512.02479, section 4.
    """

    def rule(layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        weight = _weight(layer)
        floor, ceiling = low.expand_as(x), high.expand_as(x)
        z, back = layer.at(x, weight, None)
        z_low, back_low = layer.at(floor, weight.clamp_min(0.0), None)
        z_high, back_high = layer.at(ceiling, weight.clamp_max(0.0), None)
        signal = relevance / stabilised(z - z_low - z_high, epsilon)
        return x * back(signal) - floor * back_low(signal) - ceiling * back_high(signal)

    return rule


def _weight(layer: Layer) -> Tensor:
    assert layer.weight is not None
    return layer.weight
