"""Looking at a model leaves it as it was, also where the look fails half-way, and whatever the caller's grad mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advbench.core.receptive_field import Unit
from advbench.features.activations import activations, features
from advbench.features.comparison import comparison
from advbench.features.deconv_projection import deconv_projection
from advbench.features.evolution import Evolution
from advbench.features.layers import feature_layer, layers, map_layer
from advbench.features.patches import fields, patches, strongest_channels
from tests.features.feature_nets import ladder, noise

X = noise(4)
IDS = torch.arange(4)
SHAPE = (3, 19, 19)
LOOKS: dict[str, Callable[[nn.Module], object]] = {
    "layers": lambda net: layers(net, SHAPE),
    "feature_layer": lambda net: feature_layer(net, SHAPE),
    "map_layer": lambda net: map_layer(net, SHAPE),
    "activations": lambda net: activations(net, X, "3"),
    "features": lambda net: features(net, "3", _images, IDS),
    "patches": lambda net: fields(net, patches(net, "3", _images, IDS, [0], count=2), SHAPE),
    "strongest_channels": lambda net: strongest_channels(net, "3", _images, IDS, 2),
    "deconv_projection": lambda net: deconv_projection(net, X, "3", [Unit(0, 1, 1)] * 4),
    "comparison": lambda net: comparison(net, _images, IDS),
    "evolution": lambda net: Evolution(X, ["3"], channels=2, epochs=None)(1, net),
}


def _images(ids: Tensor) -> Tensor:
    return X[ids]


class Stop(nn.Module):
    """The user's Ctrl-C, half-way through the network."""

    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


def state(net: nn.Module) -> list[object]:
    tensors = [*net.parameters(), *net.buffers()]
    return [
        [tensor.detach().clone().tolist() for tensor in tensors],
        [(parameter.requires_grad, parameter.grad) for parameter in net.parameters()],
        [(module.training, len(module._forward_hooks), len(module._backward_hooks)) for module in net.modules()],
        torch.get_rng_state().tolist(),
        X.tolist(),
    ]


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("look", LOOKS)
def test_no_trace_is_left(look: str, interrupted: bool) -> None:
    net = ladder().train()
    next(net.parameters()).requires_grad_(False)
    if interrupted:
        net[4] = Stop()
    before = state(net)
    with torch.no_grad():
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                LOOKS[look](net)
        else:
            LOOKS[look](net)
    assert state(net) == before
