"""The rules of relevance propagation against their sums written out, one input and one output at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.nn import functional

from advbench.core.relevance_rules import Layer, Rule, box_rule, epsilon_rule, gamma_rule, plus_rule, stabilised
from tests.strategies import seeds

LOW, HIGH = torch.full((1, 5), -3.0, dtype=torch.float64), torch.full((1, 5), 4.0, dtype=torch.float64)
RULES: dict[str, Rule] = {
    "epsilon": epsilon_rule(1e-9),
    "plus": plus_rule(1e-9),
    "gamma": gamma_rule(0.25, 1e-9),
    "box": box_rule(LOW, HIGH, 1e-9),
}


def linear(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    assert weight is not None
    return functional.linear(x, weight, bias)


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x (2, 5) of both signs, weight (3, 5), bias (3,), relevance (2, 3)."""
    maker = torch.Generator().manual_seed(seed)
    shapes = ((2, 5), (3, 5), (3,), (2, 3))
    x, weight, bias, relevance = (torch.randn(shape, generator=maker, dtype=torch.float64) for shape in shapes)
    return x, weight, bias, relevance


def shares(name: str, x: float, w: float, bias: bool, z: float) -> float:
    """What one product contributes; `bias` for the bias, as a weight of the input 1."""
    if name == "epsilon":
        return x * w
    if name == "plus":
        return max(x * w, 0.0)
    if name == "gamma":
        return x * w * (1.25 if x * w * z > 0 else 1.0)
    return 0.0 if bias else x * w + 3.0 * max(w, 0.0) - 4.0 * min(w, 0.0)


def written_out(name: str, x: Tensor, weight: Tensor, bias: Tensor, relevance: Tensor) -> Tensor:
    found = torch.zeros_like(x)
    for b in range(len(x)):
        z = (weight @ x[b] + bias).tolist()
        for j in range(len(bias)):
            parts = [shares(name, float(x[b, i]), float(weight[j, i]), False, z[j]) for i in range(x.shape[1])]
            whole = sum(parts) + shares(name, 1.0, float(bias[j]), True, z[j])
            whole += -1e-9 if whole < 0 else 1e-9
            for i, part in enumerate(parts):
                found[b, i] += part / whole * float(relevance[b, j])
    return found


@pytest.mark.parametrize("name", sorted(RULES))
@given(seed=seeds())
def test_every_rule_is_its_sum_written_out(name: str, seed: int) -> None:
    x, weight, bias, relevance = drawn(seed)
    found = RULES[name](Layer(linear, weight, bias), x, relevance)
    expected = written_out(name, x, weight, bias, relevance)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(RULES))
@given(seed=seeds())
def test_without_a_bias_relevance_is_neither_made_nor_lost(name: str, seed: int) -> None:
    x, weight, _, _ = drawn(seed)
    relevance = functional.linear(x, weight)  # as a network has it: none where the output is zero
    found = RULES[name](Layer(linear, weight, None), x, relevance)
    kept = relevance
    if name == "plus":  # an output without any positive contribution has nobody to hand its relevance to
        kept = relevance * ((x.clamp_min(0) @ weight.clamp_min(0).T + x.clamp_max(0) @ weight.clamp_max(0).T) > 0)
    torch.testing.assert_close(found.sum(1), kept.sum(1), rtol=1e-5, atol=1e-6)


def test_by_hand() -> None:
    """Inputs 1 and 2 with weights 3 and -1 make 1: epsilon gives 3 and -2, z+ all to the first."""
    layer = Layer(linear, torch.tensor([[3.0, -1.0]]), None)
    x, one = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0]])
    assert torch.allclose(epsilon_rule(0.0)(layer, x, one), torch.tensor([[3.0, -2.0]]))
    assert torch.allclose(epsilon_rule(1.0)(layer, x, one), torch.tensor([[1.5, -1.0]]))
    assert torch.allclose(plus_rule(0.0)(layer, x, one), torch.tensor([[1.0, 0.0]]))
    assert torch.allclose(gamma_rule(1.0, 0.0)(layer, x, one), torch.tensor([[1.5, -0.5]]))
    assert stabilised(torch.tensor([0.0, -1.0, 2.0]), 0.5).tolist() == [0.5, -1.5, 2.5]
