"""Distances of features: none for equal images, known for linear layers, one row per layer in order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from advbench.core.gradients import in_pieces
from advbench.diagnostics.layer_distance import layer_distance
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net, images


@given(st.integers(0, 20))
def test_an_image_is_no_distance_from_itself(seed: int) -> None:
    model = conv_net()
    x, _, _ = images(model, 3, seed)
    found = layer_distance(model, x, x)
    assert not found.relative.any()
    assert_close(found.cosine, torch.ones_like(found.cosine))


@given(st.floats(0.1, 10.0))
def test_a_linear_layer_scales_its_features_with_the_image(factor: float) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
    x = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = layer_distance(model, x, factor * x, layers=["1"])
    assert_close(found.relative, torch.full((1, 2), abs(factor - 1.0), dtype=torch.float64), atol=1e-5, rtol=1e-4)
    assert_close(found.cosine, torch.ones(1, 2, dtype=torch.float64))


def test_all_innermost_layers_come_in_the_order_of_the_pass() -> None:
    found = layer_distance(conv_net(), torch.rand(2, 1, 6, 6), torch.rand(2, 1, 6, 6))
    assert found.layers == ("0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "1")
    assert found.relative.shape == found.cosine.shape == (7, 2)


def test_a_reused_layer_is_looked_at_the_last_time() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.other = nn.Linear(4, 4, bias=False), nn.ReLU()
            with torch.no_grad():
                self.linear.weight.copy_(2.0 * torch.eye(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            twice: torch.Tensor = self.linear(self.other(self.linear(x.flatten(1))))
            return twice

    found = layer_distance(Twice(), torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 1.5))
    assert found.layers == ("other", "linear")
    assert_close(found.relative, torch.full((2, 1), 0.5, dtype=torch.float64))


def test_features_that_are_zero() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Flatten())
    x = torch.tensor([-1.0, -1.0]).reshape(2, 1, 1, 1)
    found = layer_distance(model, x, torch.tensor([-2.0, 1.0]).reshape(2, 1, 1, 1), layers=["0"])
    assert found.relative.tolist() == [[0.0, float("inf")]]
    assert found.cosine.tolist() == [[1.0, 0.0]]


def test_pieces_change_nothing_and_no_hook_is_left() -> None:
    model = conv_net()
    x, x_adv = torch.rand(2, 5, 1, 6, 6)
    whole = layer_distance(model, x, x_adv)
    with in_pieces(2):
        assert_close(layer_distance(model, x, x_adv).relative, whole.relative, atol=1e-6, rtol=1e-5)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("layers", [["nowhere"], ["0.0", "9"]])
def test_unknown_layers_are_refused(layers: list[str]) -> None:
    with pytest.raises(ConfigError):
        layer_distance(conv_net(), torch.rand(1, 1, 6, 6), torch.rand(1, 1, 6, 6), layers=layers)


def test_no_images_and_shapes_that_differ_are_refused() -> None:
    for x, x_adv in ((torch.rand(0, 1, 6, 6),) * 2, (torch.rand(2, 1, 6, 6), torch.rand(1, 1, 6, 6))):
        with pytest.raises(ConfigError, match="one shape"):
            layer_distance(conv_net(), x, x_adv)
