"""Shares of the gradient: sums to one, follows the class, does not care for the scale of the scores."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.core.gradient_map import gradient_map, gradient_shares
from advbench.core.gradients import in_pieces
from tests.attacks.small_nets import conv_net, images


class Scaled(nn.Module):
    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return self.factor * logits


@given(st.floats(0.01, 100), st.integers(0, 5))
def test_shares_sum_to_one_and_do_not_depend_on_the_scale(factor: float, seed: int) -> None:
    model = conv_net()
    x, y, _ = images(model, 3, seed)
    found = gradient_shares(model, x, y)
    assert_close(found.flatten(1).sum(1), torch.ones(3))
    assert_close(gradient_shares(Scaled(model, factor), x, y), found)


def test_pieces_change_nothing() -> None:
    model = conv_net()
    x, y, _ = images(model, 7)
    whole = gradient_shares(model, x, y)
    with in_pieces(3):
        assert_close(gradient_shares(model, x, y), whole, atol=1e-6, rtol=0.0)


def test_a_linear_model_has_the_absolute_weights_as_its_map() -> None:
    head = nn.Linear(8, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, -2.0, 0.0, 1.0, 3.0, 0.0, 0.0, -1.0], [1.0] * 8]))
    # Two channels of two by two pixels: 1 + 3, 2 + 0, 0 + 0, 1 + 1, out of 8.
    found = gradient_map(nn.Sequential(nn.Flatten(), head), torch.rand(1, 2, 2, 2), torch.tensor([0]))
    assert_close(found.shares, torch.tensor([[[0.5, 0.25], [0.0, 0.25]]]))


def test_without_a_gradient_the_map_is_even_and_says_so() -> None:
    dead = nn.Sequential(nn.Flatten(), nn.Threshold(2.0, 0.0), nn.Linear(4, 3))
    found = gradient_map(dead, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
    assert_close(found.shares, torch.full((2, 2, 2), 0.25))
    assert not found.alive.any()


def test_it_works_without_grad_mode_and_gives_no_graph() -> None:
    model = conv_net()
    x, y, _ = images(model, 2)
    with torch.no_grad():
        found = gradient_shares(model, x, y)
    assert not found.requires_grad
    assert torch.equal(found, gradient_shares(model, x, y))
