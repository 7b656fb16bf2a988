"""The layer that alone reads the image is found where there is one, and only there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advbench.models.entry import affine_entry


class Around(nn.Module):
    """A convolution with something before or beside it."""

    def __init__(self, forward: Callable[[nn.Conv2d, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.register_buffer("mean", torch.rand(1, 3, 1, 1))
        self.way = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self.conv, x, self.mean)


@pytest.mark.parametrize(
    "way",
    [
        lambda conv, x, mean: conv(x).relu(),
        lambda conv, x, mean: conv((x - mean) / 0.5).relu(),
        lambda conv, x, mean: conv(x * mean + 1.0).exp(),
    ],
)
def test_found_behind_affine_steps(way: Callable[[nn.Conv2d, Tensor, Tensor], Tensor]) -> None:
    assert affine_entry(Around(way)) == "conv"


@pytest.mark.parametrize(
    "way",
    [
        lambda conv, x, mean: conv(x) + x,  # the image goes round it
        lambda conv, x, mean: conv(conv(x)),  # it is called twice
        lambda conv, x, mean: conv(x.relu()),  # not affine
        lambda conv, x, mean: conv(1.0 / x),
        lambda conv, x, mean: conv(x * x),
        lambda conv, x, mean: conv(x - x.mean()),
        lambda conv, x, mean: conv(x) if x.sum() > 0 else x,  # no graph
        lambda conv, x, mean: x.relu(),
    ],
)
def test_not_found_where_the_way_back_depends_on_the_image(way: Callable[[nn.Conv2d, Tensor, Tensor], Tensor]) -> None:
    assert affine_entry(Around(way)) is None


def test_a_linear_layer_counts_and_a_norm_before_it_does_not() -> None:
    assert affine_entry(nn.Sequential(nn.Identity(), nn.Linear(4, 2), nn.ReLU())) == "1"
    assert affine_entry(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))) is None


def test_not_found_where_a_hook_may_bend_the_image() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    handle = net[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] ** 3,))
    assert affine_entry(net) is None
    handle.remove()
    assert affine_entry(net) == "0"
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0] ** 3,))
    assert affine_entry(net) is None
