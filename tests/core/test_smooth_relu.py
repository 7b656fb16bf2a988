"""Softplus stands in for every ReLU, however it is called, and has the curvature that a ReLU lacks."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from advbench.core.smooth_relu import smooth_relu

CALLS: list[Callable[[Tensor], Tensor]] = [
    functional.relu,
    torch.relu,
    lambda x: x.relu(),
    lambda x: functional.relu(x, inplace=True),
    lambda x: x.relu_(),
    nn.ReLU(),
    nn.ReLU(inplace=True),
]


@given(st.floats(-5, 5), st.floats(0.5, 200))
def test_it_lies_above_the_relu_by_at_most_log_two_over_beta(value: float, beta: float) -> None:
    x = torch.tensor([value], dtype=torch.float64)
    with smooth_relu(beta):
        above = float(functional.relu(x)) - max(value, 0.0)
    assert -1e-9 <= above <= log(2.0) / beta + 1e-9


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_smoothed_and_none_afterwards(call: Callable[[Tensor], Tensor]) -> None:
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)
    with smooth_relu(10.0):
        inside = call(x.clone())
    assert_close(inside, torch.log1p(torch.exp(10.0 * x)) / 10.0)
    assert torch.equal(call(x.clone()), x.clamp_min(0.0))


def test_what_amounts_to_a_relu_is_smoothed_where_a_gradient_goes() -> None:
    x = torch.linspace(-1, 1, 7, dtype=torch.float64, requires_grad=True)
    with smooth_relu(10.0):
        inside, apart = x.clamp(min=0), x.detach().clamp(min=0)
    assert_close(inside, torch.log1p(torch.exp(10.0 * x)) / 10.0)
    assert torch.equal(apart, x.detach().clamp_min(0.0))


def test_an_in_place_call_overwrites_its_input() -> None:
    x = torch.linspace(-1, 1, 7)
    with smooth_relu(10.0):
        assert functional.relu_(x) is x
    assert float(x.min()) > 0.0


def test_relu6_is_smooth_at_both_ends() -> None:
    x = torch.tensor([-3.0, 3.0, 9.0], dtype=torch.float64)
    with smooth_relu(20.0):
        assert_close(functional.relu6(x), torch.tensor([0.0, 3.0, 6.0], dtype=torch.float64), atol=1e-9, rtol=0.0)


def test_an_activation_that_is_no_relu_stays_as_it_is() -> None:
    x = torch.linspace(-1, 1, 7)
    with smooth_relu(1.0):
        assert torch.equal(functional.gelu(x), functional.gelu(x.clone()))
        assert torch.equal(functional.hardtanh(x), x.clamp(-1.0, 1.0))


@pytest.mark.parametrize("in_place", [False, True])
def test_the_gradient_of_a_network_gets_a_derivative(in_place: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(in_place), nn.Linear(8, 1)).double()
    x = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)

    def gradient(z: Tensor) -> Tensor:
        (grad,) = torch.autograd.grad(model(z).sum(), z, create_graph=True)
        return grad

    with smooth_relu(5.0):
        assert torch.autograd.gradcheck(gradient, (x,))
        (curvature,) = torch.autograd.grad(gradient(x).square().sum(), x)
    assert float(curvature.abs().amax()) > 1e-3
