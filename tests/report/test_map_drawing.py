"""Colours of heat maps: symmetric where signed, the same for the same number, and honest about where they end."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from advbench.report.map_drawing import (
    Array,
    Scale,
    coloured,
    flat,
    is_smooth,
    overlaid,
    painted,
    photograph,
    scale_of,
    whereabouts,
)

maps = arrays(np.float32, (5, 4), elements=st.floats(-100, 100, width=32))


@given(maps)
def test_the_negative_map_has_the_colours_of_the_other_side(values: Array) -> None:
    scale = Scale(scale_of([values]).end, signed=True)
    assert scale_of([-values]).end == scale_of([values]).end
    turned = mpl.colormaps["PuOr"](np.clip(0.5 + values.astype(np.float64) / (2 * scale.end), 0, 1))[..., :3]
    assert_allclose(painted(-values, scale), turned, atol=0.02)  # a step of 256


@given(maps, maps)
def test_a_shared_scale_covers_both_maps_and_knows_signs(first: Array, second: Array) -> None:
    both = scale_of([first, second])
    assert both == scale_of([np.stack([first, second])])
    assert both.signed == bool((first < 0).any() or (second < 0).any())
    assert both.end > 0


@given(maps, st.floats(0.5, 8))
def test_twice_the_map_has_the_same_picture(values: Array, factor: float) -> None:
    factor = float(np.float32(2.0 ** round(factor)))  # exact in float32
    scale, larger = scale_of([values]), scale_of([values * factor])
    if np.abs(values).max() > 1e-3:
        assert_allclose(painted(values, scale), painted(values * factor, larger), atol=1 / 255)


def test_one_hot_pixel_does_not_blacken_the_map() -> None:
    values = np.full((100, 100), 0.5, np.float32)
    values[3, 4] = 1e6
    assert scale_of([values]).end == pytest.approx(0.5)


def test_a_map_that_is_zero_but_for_a_spot_is_drawn_up_to_the_spot() -> None:
    values = np.zeros((100, 100), np.float32)
    values[3, 4] = 2.0
    assert scale_of([values]) == Scale(2.0, signed=False)
    assert scale_of([np.zeros((3, 3), np.float32)]).end == 1.0


def test_the_scale_says_its_range() -> None:
    assert Scale(0.0214, signed=True).text == "-0.021 .. 0.021"
    assert Scale(3.0, signed=False).text == "0 .. 3"
    assert Scale(131.2, signed=False).text == "0 .. 131"
    assert Scale(4.56e7, signed=True).text == "-4.6e+07 .. 4.6e+07"


def test_for_is_orange_against_is_purple() -> None:
    red, _, blue = np.moveaxis(painted(np.array([[1.0, -1.0]], np.float32), Scale(1.0, signed=True)), -1, 0)
    assert red[0, 0] > blue[0, 0]
    assert blue[0, 1] > red[0, 1]
    middle = painted(np.zeros((1, 1), np.float32), Scale(1.0, signed=True))
    assert middle.min() > 0.95  # nearly white


def test_channels_are_summed_and_what_is_not_finite_is_zero() -> None:
    heat = np.array([[[1.0, np.nan]], [[2.0, np.inf]], [[-4.0, 5.0]]], np.float32)
    assert_array_equal(flat(heat), [[-1.0, 5.0]])


@given(arrays(np.float32, (3, 4, 5), elements=st.floats(0, 1, width=32)))
def test_without_evidence_the_photograph_shines_through(image: Array) -> None:
    nothing, all_of_it = np.zeros((4, 5), np.float32), np.full((4, 5), 9.0, np.float32)
    scale = Scale(1.0, signed=False)
    grey = image.mean(0)[..., None]
    far = np.abs(overlaid(image, all_of_it, scale) - painted(all_of_it, scale)).max()
    assert np.abs(overlaid(image, nothing, scale) - grey).max() <= 0.16
    assert far <= 0.21


def test_in_colour_zero_is_grey_and_signs_are_kept() -> None:
    heat = np.zeros((3, 2, 2), np.float32)
    heat[0, 0, 0], heat[2, 1, 1] = 1.0, -1.0
    shown = coloured(heat)
    assert_allclose(shown[0, 1], 0.5)
    assert_allclose(shown[0, 0], [1.0, 0.5, 0.5])
    assert_allclose(shown[1, 1], [0.5, 0.5, 0.0])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_photograph_of_any_channels(channels: int) -> None:
    image = np.random.default_rng(0).random((channels, 3, 5), np.float32)
    shown = photograph(image)
    assert shown.shape == (3, 5, 3)
    expected = image.transpose(1, 2, 0) if channels == 3 else np.repeat(image.mean(0)[..., None], 3, 2)
    assert_allclose(shown, expected)


def test_enlarged_maps_are_smooth_and_noise_is_not() -> None:
    noise = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    hill = np.outer(np.hanning(64), np.hanning(64)).astype(np.float32)
    assert is_smooth([hill])
    assert not is_smooth([noise])
    assert not is_smooth([np.zeros((4, 4), np.float32)])
    assert not is_smooth([np.ones((1, 1), np.float32) * 0])


def test_where_the_evidence_lies_in_words() -> None:
    values = np.full((10, 10), -1.0, np.float32)
    values[0, 9] = 1.0
    assert whereabouts(values) == "centre of the evidence 95% from the left and 5% from the top; half of it on 1%"
    assert whereabouts(-np.ones((2, 2), np.float32)) == "no evidence for it"
