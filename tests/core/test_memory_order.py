"""The order in memory changes no value, and a network that needs the usual one gets it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.memory_order import wanted_order
from tests.attributions.small_nets import pooled_net


class Viewing(nn.Module):
    """Works for images in the usual order only."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1)


def test_values_stay_and_the_order_is_what_the_network_can_read() -> None:
    z = torch.rand(2, 3, 6, 5)
    together = wanted_order(pooled_net(), z[:1])(z)
    assert together.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(together, z)
    usual = wanted_order(Viewing(), z[:1])
    assert torch.equal(usual(together), z)
    assert Viewing()(usual(together)).shape == (2, 90)
    assert wanted_order(pooled_net(), z[:1, :1])(z[:, :1]).is_contiguous()
