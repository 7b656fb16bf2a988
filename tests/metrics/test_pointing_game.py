"""The pointing game: objects and points at known places."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.metrics.pointing_game import pointing_accuracy, pointing_game


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 8), st.integers(0, 10**6))
def test_a_hit_is_a_point_no_further_from_the_object_than_the_tolerance(tolerance: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    heat = torch.rand(4, 2, 9, 11, generator=generator)
    mask = torch.rand(4, 9, 11, generator=generator) > 0.97
    found = pointing_game(heat, mask, tolerance=tolerance)
    for i in range(4):
        point = divmod(int(heat[i].double().sum(0).argmax()), 11)
        away = [math.dist(point, place) for place in mask[i].nonzero().tolist()]
        if away:
            assert float(found[i]) == float(min(away) <= tolerance)
        else:
            assert math.isnan(float(found[i]))


def test_everything_is_hit_by_a_full_mask_and_ties_share() -> None:
    heat = torch.zeros(3, 1, 4, 4)
    mask = torch.ones(3, 4, 4, dtype=torch.bool)
    mask[1, :, 1:] = False  # a constant map points at a quarter of the pixels
    mask[2] = False
    found = pointing_game(heat, mask, tolerance=0)
    assert found[:2].tolist() == [1.0, 0.25]
    assert math.isnan(float(found[2]))


def test_classes_count_alike_and_excluded_images_do_not() -> None:
    hits = torch.tensor([1.0, 1.0, 1.0, 0.0, torch.nan, torch.nan])
    labels = torch.tensor([7, 7, 7, 2, 2, 5])
    assert pointing_accuracy(hits, labels) == 0.5
    assert math.isnan(pointing_accuracy(hits[4:], labels[4:]))


def test_masks_that_do_not_fit_are_refused() -> None:
    heat = torch.zeros(2, 1, 3, 3)
    for mask in (torch.zeros(2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="mask must be bool"):
            pointing_game(heat, mask)
    with pytest.raises(ValueError, match="tolerance"):
        pointing_game(heat, torch.ones(2, 3, 3, dtype=torch.bool), tolerance=-1)
