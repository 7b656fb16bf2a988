"""The energy-based pointing game: shares that are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.metrics.energy_pointing_game import energy_pointing_game
from tests.strategies import seeds


@settings(max_examples=40, deadline=None)
@given(seeds(), st.floats(0.01, 100.0))
def test_a_mask_and_what_is_left_share_the_whole_and_no_scale_matters(seed: int, scale: float) -> None:
    maker = torch.Generator().manual_seed(seed)
    heat, mask = torch.randn(4, 3, 6, 5, generator=maker), torch.rand(4, 6, 5, generator=maker) > 0.5
    mask[:, 0, 0], mask[:, 0, 1] = True, False
    inside, outside = energy_pointing_game(heat, mask), energy_pointing_game(heat, ~mask)
    torch.testing.assert_close(inside + outside, torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(energy_pointing_game(scale * heat, mask), inside, rtol=1e-5, atol=1e-6)
    for i in range(4):
        positive = [max(0.0, value) for value in heat[i].double().sum(0).flatten().tolist()]
        lit = [value for value, on in zip(positive, mask[i].flatten().tolist(), strict=True) if on]
        assert float(inside[i]) == pytest.approx(sum(lit) / sum(positive))


def test_by_hand() -> None:
    heat = torch.tensor([[[[3.0, 1.0], [-2.0, 4.0]]]])
    mask = torch.tensor([[[True, False], [True, False]]])
    assert energy_pointing_game(heat, mask).tolist() == [3.0 / 8.0]
    level = torch.ones(1, 1, 4, 4)
    assert energy_pointing_game(level, torch.arange(16).reshape(1, 4, 4) < 5).tolist() == [5.0 / 16.0]


def test_without_an_object_or_anything_positive_there_is_no_number() -> None:
    heat, mask = torch.ones(2, 1, 2, 2), torch.ones(2, 2, 2, dtype=torch.bool)
    heat[0], mask[1] = -1.0, False
    assert all(math.isnan(value) for value in energy_pointing_game(heat, mask).tolist())
    with pytest.raises(ValueError, match="mask must be bool"):
        energy_pointing_game(heat, mask.float())
