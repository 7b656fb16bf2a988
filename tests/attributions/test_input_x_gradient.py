"""input_x_gradient is the product it is named after."""

from __future__ import annotations

import torch
from hypothesis import given
from torch import nn

from advbench.attributions.gradient import gradient
from advbench.attributions.input_x_gradient import input_x_gradient
from advbench.core.targets import log_probability
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds


@given(seeds())
def test_without_biases_it_sums_to_the_score(seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 6, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3, bias=False)
        ).double()
        x = torch.randn(3, 2, 6, 7, dtype=torch.float64)
    y = torch.tensor([2, 0, 1])
    heat = input_x_gradient(model, x, y)
    torch.testing.assert_close(heat.flatten(1).sum(1), model(x).gather(1, y[:, None])[:, 0])


def test_it_is_the_product_for_any_target() -> None:
    x, y, _ = images(conv_net(), 4)
    target = log_probability(y)
    assert torch.equal(input_x_gradient(conv_net(), x, target), x * gradient(conv_net(), x, target))


def test_by_hand() -> None:
    """max(0, 2 a - b) at a = 3, b = 1: 6 for a, -1 for b."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[2.0, -1.0]]))  # type: ignore[operator]
    heat = input_x_gradient(model, torch.tensor([[[[3.0, 1.0]]]]), torch.tensor([0]))
    assert torch.equal(heat, torch.tensor([[[[6.0, -1.0]]]]))
