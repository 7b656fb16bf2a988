"""The order in memory changes no value, and a network that needs the usual one gets it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.memory_order import in_wanted_order
from tests.attributions.small_nets import pooled_net


class Viewing(nn.Module):
    """Works for images in the usual order only; notes which were tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tried.append(x.is_contiguous(memory_format=torch.channels_last))
        return x.view(len(x), -1)


def test_values_stay_and_the_order_is_what_the_network_can_read() -> None:
    z, net = torch.rand(2, 3, 6, 5), pooled_net()
    together = in_wanted_order(net, z, lambda ordered: ordered)
    assert together.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(together, z)
    torch.testing.assert_close(in_wanted_order(net, z, net), net(z))
    # Also images that come in another order, as rolled ones do.
    for images in (z, together):
        assert torch.equal(in_wanted_order(viewing := Viewing(), images, viewing), z.flatten(1))


def test_a_network_that_cannot_read_it_is_asked_once() -> None:
    z, viewing = torch.rand(2, 3, 6, 5), Viewing()
    for _ in range(3):
        in_wanted_order(viewing, z, viewing)
    assert viewing.tried == [True, False, False, False]


def test_double_precision_and_vectors_come_as_they_are() -> None:
    for z in (torch.rand(2, 3, 6, 5, dtype=torch.float64), torch.rand(2, 7)):
        assert in_wanted_order(pooled_net(), z, lambda ordered: ordered) is z


def test_another_error_comes_through_at_the_first_pass() -> None:
    passes = []

    def broken(z: Tensor) -> Tensor:
        passes.append(z)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        in_wanted_order(pooled_net(), torch.rand(1, 3, 4, 4), broken)
    assert len(passes) == 1
