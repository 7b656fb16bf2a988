"""Which axes of an output are rows and columns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import SwinTransformer

from advbench.attributions.gradient import gradient
from advbench.core.activations import Partial, record
from advbench.core.draws import Draws
from advbench.core.layer_order import finishing_order
from advbench.core.map_reader import MapReader, reading_maps
from advbench.core.receptive_field import Box, Unit, receptive_fields
from advbench.core.targets import energy, scores, unit
from advbench.features.activations import activations, features
from advbench.features.layers import layers
from advbench.features.patches import patches
from advbench.synthesis.visualize.visualize import visualize
from tests.attributions.attention_nets import swin


def marked(count: int, channels: int, rows: int, columns: int) -> Tensor:
    """(count, channels, rows, columns), every entry another number."""
    return torch.arange(count * channels * rows * columns, dtype=torch.float32).reshape(count, channels, rows, columns)


@given(st.integers(1, 3), st.integers(1, 12), st.integers(2, 9), st.integers(2, 9), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_maps_come_back_from_every_layout(count: int, channels: int, rows: int, columns: int, cell: int) -> None:
    """Behind a convolution channels are first, behind a layer norm last, whatever the sizes."""
    maps = marked(count, channels, rows, columns)
    reader = MapReader((rows * cell, columns * cell))
    reader.note(nn.Conv2d(1, 1, 1), None, maps)
    layout = reader.layout(maps)
    assert layout is not None
    assert torch.equal(layout(maps), maps)
    last = maps.permute(0, 2, 3, 1).contiguous()
    reader.note(nn.LayerNorm(channels), None, last)
    layout = reader.layout(last)
    assert layout is not None
    assert torch.equal(layout(last), maps)


@given(st.integers(1, 8), st.integers(2, 9), st.integers(2, 9), st.integers(0, 5), st.sampled_from([4, 16]))
@settings(deadline=None, max_examples=60)
def test_tokens_come_back_as_maps(channels: int, rows: int, columns: int, extra: int, patch: int) -> None:
    maps = marked(2, channels, rows, columns)
    tokens = torch.cat([torch.full((2, extra, channels), -1.0), maps.flatten(2).transpose(1, 2)], 1)
    reader = MapReader((rows * patch, columns * patch))
    reader.note(nn.Conv2d(1, 1, 1), None, torch.zeros(2, 3, rows, columns))
    layout = reader.layout(tokens)
    assert layout is not None
    assert torch.equal(layout(tokens), maps)


@pytest.mark.parametrize(
    ("tokens", "image", "grid"),
    [
        (197, (224, 224), (14, 14)),
        (196, (224, 224), (14, 14)),
        (201, (224, 224), (14, 14)),
        (50, (224, 224), (7, 7)),
        (17, (16, 16), (4, 4)),
        (151, (160, 240), (10, 15)),
        (39, (224, 224), (6, 6)),
        (3, (16, 160), None),
    ],
)
def test_without_a_convolution_the_image_tells_the_grid(
    tokens: int, image: tuple[int, int], grid: tuple[int, int] | None
) -> None:
    assert MapReader(image).grid_of(tokens) == grid


def test_a_view_turned_back_is_told_by_its_memory() -> None:
    """Swin's last step: (B, h, w, C) seen as (B, C, h, w), right behind a layer norm."""
    maps = marked(2, 8, 7, 8)
    last = maps.permute(0, 2, 3, 1).contiguous()
    reader = MapReader((56, 64))
    reader.note(nn.LayerNorm(8), None, last)
    layout = reader.layout(last.permute(0, 3, 1, 2))
    assert layout is not None
    assert torch.equal(layout(maps), maps)


def test_a_norm_over_whole_maps_says_nothing_about_the_last_axis() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LayerNorm((8, 8, 8)), nn.ReLU())
    x = torch.rand(1, 3, 8, 8)
    with reading_maps(model) as reader:
        output = model(x)
    assert reader.image == (8, 8)
    assert torch.equal(reader.channels_first(output), output)


BLOCKS, X = "features.1", torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(4))  # (B, 16, 16, 12)


def blocks(x: Tensor) -> Tensor:
    """What Swin's first blocks put out, channels second."""
    with torch.no_grad():
        maps: Tensor = swin().features[:2](x)
    return maps.movedim(-1, 1)


def test_a_channel_of_swin_is_a_channel_and_a_place_a_place() -> None:
    model, maps, rows = swin(), blocks(X), torch.arange(3)
    for target, expected in (
        (unit(BLOCKS, 5), maps[:, 5].mean((1, 2))),
        (unit(BLOCKS, 5, (2, 13)), maps[:, 5, 2, 13]),
        (unit(BLOCKS, 11, "max"), maps[:, 11].amax((1, 2))),
        (energy(BLOCKS), 0.5 * maps.square().sum((1, 2, 3))),
    ):
        torch.testing.assert_close(scores(model, X, target, rows), expected)
    assert torch.equal(activations(model, X, BLOCKS), maps)
    pooled = features(model, BLOCKS, lambda ids: X[ids], rows)
    torch.testing.assert_close(pooled, maps.mean((2, 3)))


def test_what_goes_on_from_a_recorded_layer_is_what_it_put_out() -> None:
    model, x = swin(), X.clone().requires_grad_(True)
    with record(model, [BLOCKS]) as outputs:
        logits = model(x)
    assert torch.equal(logits, model(x))
    (to_layer,) = torch.autograd.grad(logits.sum(), outputs[BLOCKS], retain_graph=True)
    assert to_layer.shape == (3, 12, 16, 16)
    assert to_layer.any()
    (to_image,) = torch.autograd.grad(outputs[BLOCKS].square().sum(), x)
    found = Partial(model, [BLOCKS], X)(x)[BLOCKS]
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], to_image)


def test_maps_as_wide_as_they_are_deep_are_told_by_the_layers_before() -> None:
    """Swin of 16 channels on 16 x 16 places, behind a convolution, a norm and blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SwinTransformer([4, 4], 16, [2], [2], [4, 4], num_classes=2).eval()
    with torch.no_grad():
        expected = model.features[:2](X).movedim(-1, 1)
        first = model.features[0][0](X)
    assert torch.equal(activations(model, X, "features.1"), expected)
    assert torch.equal(activations(model, X, "features.0.0"), first)
    assert torch.equal(activations(model, X, "features.0.1"), first)  # turned by the network, and back


def test_the_catalogue_of_swin_has_its_channels_first_and_its_units_their_place() -> None:
    model = swin()
    assert finishing_order(model, X[:1])[BLOCKS] == (1, 12, 16, 16)
    listed = {layer.name: layer for layer in layers(model, (3, 64, 64))}
    assert listed["features.0.1"].shape == listed[BLOCKS].shape == (12, 16, 16)
    assert (listed["features.0.2"].field, listed["features.0.2"].stride) == ((4, 4), (4.0, 4.0))
    (box,) = receptive_fields(model, "features.0.2", [Unit(0, 2, 13)], (3, 64, 64))
    assert box == Box(8, 52, 12, 56)
    found = patches(model, BLOCKS, lambda ids: X[ids], torch.arange(3), [11], count=1)
    best = torch.unravel_index(blocks(X)[:, 11].argmax(), (3, 16, 16))
    assert (found.ids, found.rows, found.columns) == tuple(each.reshape(1, 1) for each in best)


def test_a_channel_of_swin_can_be_explained_and_seen() -> None:
    model, rows = swin(), torch.arange(1)
    heat = gradient(model, X[:1], unit("features.0.2", 3, (2, 13)))
    assert heat[..., 8:12, 52:56].any()
    heat[..., 8:12, 52:56] = 0.0
    assert not heat.any()
    made = visualize(model, f"{BLOCKS}:11@2,13", draws=Draws(0, rows), shape=(3, 64, 64), steps=4)
    assert made.shape == (1, 3, 64, 64)
