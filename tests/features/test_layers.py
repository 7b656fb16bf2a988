"""The catalogue of layers, the defaults taken from it, and filters as tiles."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from advbench.features.activations import activations
from advbench.features.filters import as_tiles, filters, tiled, untiled
from advbench.features.layers import (
    feature_layer,
    first_convolution,
    layers,
    map_layer,
    resolve_layer,
    weighted_layers,
)
from advbench.models.normalize import Normalized
from advbench.types import ConfigError
from tests.features.feature_nets import ladder


def test_the_catalogue_of_a_chain() -> None:
    found = {layer.name: layer for layer in layers(ladder(), (3, 19, 19))}
    assert list(found) == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert found["0"].kind == "Conv2d"
    assert found["0"].shape == (6, 9, 9)
    assert (found["0"].field, found["0"].stride, found["0"].clipped) == ((3, 3), (2.0, 2.0), False)
    assert (found["2"].field, found["2"].stride, found["2"].clipped) == ((7, 7), (4.0, 4.0), False)
    assert (found["3"].field, found["3"].stride) == ((15, 15), (4.0, 4.0))
    assert (found["7"].shape, found["7"].field, found["7"].stride) == ((3,), None, None)


def test_the_layers_that_are_looked_at_unasked() -> None:
    model = ladder()
    assert feature_layer(model, (3, 19, 19)) == "4"  # dropout and flatten only pass it on
    assert map_layer(model, (3, 19, 19)) == "2"  # 7 of 19 pixels; the next sees 15
    assert weighted_layers(model, (3, 19, 19)) == ["0", "3", "7"]
    assert first_convolution(model) == "0"
    with pytest.raises(ConfigError, match="no convolution"):
        first_convolution(nn.Linear(2, 2))


def test_a_layer_behind_a_normalisation_keeps_its_published_name() -> None:
    model = Normalized(ladder(), (0.5,) * 3, (0.5,) * 3)
    assert resolve_layer(model, "3") == "net.3"
    assert resolve_layer(model, "net.3") == "net.3"
    with pytest.raises(ConfigError, match="no layer named"):
        resolve_layer(model, "features")


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 2), st.sampled_from(["each", "global"]))
def test_tiles_come_back_and_lie_between_0_and_1(count: int, columns: int, gap: int, scale: str) -> None:
    weight = torch.randn(count, 3, 2, 4, generator=torch.Generator().manual_seed(count))
    tiles = as_tiles(weight, scale=scale)  # type: ignore[arg-type]
    assert float(tiles.min()) >= 0.0
    assert float(tiles.max()) <= 1.0
    assert torch.equal(untiled(tiled(tiles, columns, gap=gap), count, columns, (2, 4), gap=gap), tiles)


def test_scales_by_hand() -> None:
    weight = torch.tensor([4.0, -2.0, 0.0, 1.0]).view(2, 1, 1, 2)
    assert as_tiles(weight).flatten().tolist() == [1.0, 0.25, 0.5, 1.0]
    assert as_tiles(weight, scale="global").flatten().tolist() == [1.0, 0.25, 0.5, 0.625]
    assert as_tiles(torch.zeros(1, 1, 2, 2)).flatten().tolist() == [0.5] * 4


def test_pixel_space_is_what_the_first_layer_does_to_pixels() -> None:
    std = (0.5, 0.25, 0.2)
    model = Normalized(ladder(), (0.1, 0.2, 0.3), std)
    weight, on_pixels = filters(model, "net.0"), filters(model, "net.0", pixel_space=True)
    # The change of the output for a change of one pixel of one channel.
    x = torch.zeros(1, 3, 19, 19)
    changed = x.clone()
    changed[0, 1, 2, 2] = 1.0
    difference = activations(model, changed, "net.0") - activations(model, x, "net.0")
    assert torch.allclose(difference[0, :, 1, 1], on_pixels[:, 1, 0, 0], atol=1e-5)
    assert torch.allclose(on_pixels[:, 1], weight[:, 1] / 0.25)
    with pytest.raises(ConfigError, match="first convolution"):
        filters(model, "net.3", pixel_space=True)
    with pytest.raises(ConfigError, match="no 2-d convolution"):
        filters(model, "net.7")


def test_filters_are_a_copy() -> None:
    model = ladder()
    filters(model, "0").zero_()
    assert bool(filters(model, "0").any())
