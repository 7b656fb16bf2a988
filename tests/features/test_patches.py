"""Planted patches come first, each image at most once, and the projection stays inside what the unit can see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.receptive_field import Box, Unit
from advbench.features.activations import activations, features
from advbench.features.deconv_projection import deconv_projection
from advbench.features.patches import crops, fields, padded, patches, strongest_channels
from advbench.types import ConfigError
from tests.features.feature_nets import detector, ladder, noise


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_it_is_the_top_of_all_images_whatever_the_batches(batch: int, count: int, seed: int) -> None:
    model, x = ladder(seed), noise(11, seed=seed)
    found = patches(model, "3", lambda ids: x[ids], torch.arange(11), [5, 0], count=count, batch=batch)
    maps = activations(model, x, "3")[:, [5, 0]]  # (N, 2, h, w)
    peaks = maps.flatten(2).amax(2).T.sort(1, descending=True).values[:, :count]
    assert torch.allclose(found.values, peaks, atol=1e-6)
    for c in range(2):
        assert len(set(found.ids[c].tolist())) == len(found.ids[c])
        there = maps[found.ids[c], c, found.rows[c], found.columns[c]]
        assert torch.allclose(there, found.values[c], atol=1e-6)


def planted() -> Tensor:
    """Grey images; in 3 and 5 a vertical edge at column 6, in 7 a horizontal one at row 4, of falling contrast."""
    x = torch.full((9, 1, 12, 12), 0.5)
    x[3, :, :, 6:], x[5, :, :, 6:] = 1.0, 0.8
    x[7, :, 4:, :] = 0.9
    return x


def test_planted_edges_come_first() -> None:
    x = planted()
    found = patches(detector(), "0", lambda ids: x[ids], torch.arange(9), [0, 1], count=2)
    assert found.ids[0].tolist() == [3, 5]
    assert int(found.ids[1, 0]) == 7
    assert torch.allclose(found.values[0], torch.tensor([1.5, 0.9]))
    boxes = fields(detector(), found, (1, 12, 12))
    assert boxes[0][0] == Box(0, int(found.columns[0, 0]), 3, int(found.columns[0, 0]) + 3)
    crop = crops(lambda ids: x[ids], found, boxes)[0][0]
    assert crop.shape == (1, 3, 3)
    assert float(crop[0, 0, 0]) == 0.5
    assert float(crop[0, 0, 2]) == 1.0


def test_a_clipped_crop_lies_against_the_border_that_cut_it() -> None:
    tile = padded(torch.ones(1, 2, 3), Box(0, 4, 2, 7), Box(0, 0, 4, 3), fill=0.0)
    assert tile[0, :, 0].tolist() == [0, 0, 1, 1]


def test_the_projection_stays_inside_the_receptive_field() -> None:
    model, x = ladder(), noise(12)
    found = patches(model, "4", lambda ids: x[ids], torch.arange(12), [1, 4], count=3)
    for units, ids, boxes in zip(found.units(), found.ids, fields(model, found, (3, 19, 19)), strict=True):
        signal = deconv_projection(model, x[ids], "4", units)
        for one, box in zip(signal, boxes, strict=True):
            assert bool(one.any())
            one[:, box.top : box.bottom, box.left : box.right] = 0.0
            assert not bool(one.any())


def test_the_projection_is_the_deconvolution_written_out() -> None:
    model, x = ladder().double(), noise(1).double()
    first, second = model[0], model[3]
    with torch.no_grad():
        hidden = functional.relu(first(x))
        pooled, places = functional.max_pool2d(hidden, 3, 2, return_indices=True)
        top = functional.relu(second(pooled))
        seed = torch.zeros_like(top)
        channel = int(top[0].flatten(1).amax(1).argmax())
        flat = int(top[0, channel].argmax())
        seed[0, channel].view(-1)[flat] = top[0, channel].max()
        back = functional.conv_transpose2d(functional.relu(seed), second.weight, padding=1)
        # Pools that overlap: what lands on one place adds up.
        unpooled = torch.zeros_like(hidden).flatten(2).scatter_add(2, places.flatten(2), back.flatten(2))
        signal = functional.relu(unpooled.view_as(hidden))
        expected = functional.conv_transpose2d(signal, first.weight, stride=2)
    ours = deconv_projection(model, x, "4", [Unit(channel, flat // 4, flat % 4)])
    assert torch.allclose(ours, expected, atol=1e-12)


def test_a_projection_through_no_relu_is_refused() -> None:
    with pytest.raises(ConfigError, match="this model calls none"):
        deconv_projection(nn.Sequential(nn.Conv2d(3, 2, 3)), noise(1), "0", [Unit(0, 1, 1)])


def test_a_silent_unit_projects_to_nothing_and_one_image_does_not_touch_another() -> None:
    x = planted()
    silent = deconv_projection(detector(), x[:1], "1", [Unit(0, 4, 4)])
    assert not bool(silent.any())
    both = deconv_projection(detector(), x[[3, 7]], "1", [Unit(0, 2, 4), Unit(1, 2, 5)])
    alone = deconv_projection(detector(), x[[7]], "1", [Unit(1, 2, 5)])
    assert torch.allclose(both[1:], alone)


def test_the_telling_channel_is_found() -> None:
    x = planted()
    assert strongest_channels(detector(), "1", lambda ids: x[ids], torch.arange(9), 2) == [0, 1]
    only_vertical = x.clone()
    only_vertical[7] = 0.5
    assert strongest_channels(detector(), "1", lambda ids: only_vertical[ids], torch.arange(9), 1) == [0]


def test_features_are_means_over_places() -> None:
    model, x = ladder(), noise(5)
    pooled = features(model, "3", lambda ids: x[ids], torch.arange(5))
    assert torch.allclose(pooled, model[:4](x).mean((2, 3)), atol=1e-6)
    assert features(model, "3", lambda ids: x[ids], torch.arange(5), pooled=False).shape == (5, 8 * 16)


def test_mistakes_are_told() -> None:
    x, ids = noise(3), torch.arange(3)
    with pytest.raises(ConfigError, match="no channel 8"):
        patches(ladder(), "3", lambda i: x[i], ids, [8])
    with pytest.raises(ConfigError, match="no rows and columns"):
        patches(ladder(), "7", lambda i: x[i], ids, [0])
    with pytest.raises(ConfigError, match="twice"):
        patches(ladder(), "3", lambda i: x[i], torch.tensor([1, 1]), [0])
    with pytest.raises(ConfigError, match="one unit"):
        deconv_projection(ladder(), x, "3", [Unit(0, 0, 0)])
    with pytest.raises(ConfigError, match="outside"):
        deconv_projection(ladder(), x[:1], "3", [Unit(0, 9, 0)])
