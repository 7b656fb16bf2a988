"""Modules in the order in which they finish, and how deep they lie."""

from __future__ import annotations

import pytest
import torch

from advbench.core.layer_order import depth_of, finishing_order, full_name
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net
from tests.attributions.small_nets import pooled_net, tiny_vit


def test_parts_come_before_the_whole_with_their_shapes() -> None:
    x = torch.rand(2, 1, 6, 6)
    order = finishing_order(conv_net(), x)
    assert list(order) == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0", "1"]
    assert order["0.0"] == (2, 8, 4, 4)
    assert order["1"] == (2, 4)


def test_depth_is_the_share_of_weighted_layers() -> None:
    x = torch.rand(1, 3, 13, 10)
    assert [depth_of(pooled_net(), layer, x) for layer in ("0", "1", "2", "6")] == [1 / 3, 1 / 3, 2 / 3, 1.0]
    net = tiny_vit()
    blocks = [f"encoder.layers.encoder_layer_{i}" for i in range(2)]
    first, second = (depth_of(net, block, torch.rand(1, 3, 16, 16)) for block in blocks)
    assert 0 < first < second < 1
    assert full_name(net, net.get_submodule(blocks[1])) == blocks[1]
    with pytest.raises(ConfigError, match="no part"):
        depth_of(pooled_net(), "9", x)
