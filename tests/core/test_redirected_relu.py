"""Redirected ReLUs: a way up where a whole sample is blocked, the ordinary ReLU everywhere else and later."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.descent import descend
from advbench.core.redirected_relu import redirected, redirected_relu
from advbench.core.step_rules import plain
from advbench.types import Evaluation


def gradient_of(function: object, x: Tensor, *, inside: bool) -> Tensor:
    leaf = x.clone().requires_grad_(True)
    assert callable(function)
    if inside:
        with redirected_relu():
            (grad,) = torch.autograd.grad(function(leaf).sum(), leaf)
    else:
        (grad,) = torch.autograd.grad(function(leaf).sum(), leaf)
    assert isinstance(grad, Tensor)
    return grad


def loss(x: Tensor) -> Tensor:
    return functional.relu(x) @ torch.tensor([-1.0, 2.0, -3.0])


def test_only_a_sample_that_is_blocked_altogether_is_pushed_up() -> None:
    x = torch.tensor([[-1.0, -1.0, -1.0], [1.0, -1.0, -1.0]])
    # Lower loss by raising: the first and third of the first sample. The second sample has a unit that lives.
    wanted = torch.tensor([[-1.0, 0.0, -3.0], [-1.0, 0.0, 0.0]])
    assert torch.equal(gradient_of(loss, x, inside=True), wanted)
    assert torch.equal(gradient_of(loss, x, inside=False)[0], torch.zeros(3))
    assert torch.equal(redirected(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)), torch.zeros(2, 3))


def test_values_are_those_of_a_relu_also_in_place_and_capped() -> None:
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)) * 5
    with redirected_relu():
        again = x.clone()
        torch.relu_(again)
        assert torch.equal(again, functional.relu(x))
        assert torch.equal(nn.ReLU6()(x), x.clamp(0, 6))
        assert torch.equal(functional.gelu(x), nn.GELU()(x))


def test_a_dead_start_climbs_and_a_late_step_is_an_ordinary_one() -> None:
    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        return Evaluation(-functional.relu(z).sum(1), torch.zeros(len(z), dtype=torch.bool))

    start = torch.full((1, 3), -2.0)
    assert torch.equal(descend(start, objective, step=plain(0.5), steps=10, stop=None).z, start)
    with redirected_relu():
        found = descend(start, objective, step=plain(0.5), steps=10, stop=None).z
        # From -20 the sixteen steps that are helped are not enough: the others do nothing.
        deep = descend(start - 18.0, objective, step=plain(0.5), steps=40, stop=None).z
    assert bool((found > 0).all())
    torch.testing.assert_close(deep, torch.full((1, 3), -20.0 + 16 * 0.5))
