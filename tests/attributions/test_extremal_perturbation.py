"""extremal_perturbation: its mask function against a loop, and a planted square that it must find."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attributions.extremal_perturbation import extremal_perturbation, smooth_mask
from advbench.types import ConfigError


class Detail(nn.Module):
    """One logit: 40 times the mean contrast between neighbours in the square at rows 16 to 31, columns 32 to 47."""

    def forward(self, x: Tensor) -> Tensor:
        part = x[:, :, 16:32, 32:48]
        return 40.0 * (part[..., 1:] - part[..., :-1]).abs().mean((1, 2, 3))[:, None]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 1000))
def test_the_mask_is_the_smooth_maximum_of_bumps(height: int, width: int, seed: int) -> None:
    bumps = torch.rand(1, 1, height + 16, width + 16, generator=torch.Generator().manual_seed(seed)).double()
    mask = smooth_mask(bumps, (height, width))
    row, column = seed % height, (7 * seed) % width
    seen = [
        float(bumps[0, 0, row + 8 + i, column + 8 + j]) * math.exp(-(i**2 + j**2) / 18)
        for i in range(-8, 9)
        for j in range(-8, 9)
    ]
    weights = [math.exp(20 * value) for value in seen]
    expected = sum(w * v for w, v in zip(weights, seen, strict=True)) / sum(weights)
    assert float(mask[0, 0, row, column]) == pytest.approx(expected, abs=1e-9)
    assert bool(((mask >= 0) & (mask <= 1)).all())


def test_one_bump_is_a_smooth_hill_of_height_one() -> None:
    bumps = torch.zeros(1, 1, 49, 49)
    bumps[0, 0, 24, 24] = 1.0
    mask = smooth_mask(bumps, (33, 33))[0, 0]
    assert float(mask[16, 16]) == pytest.approx(1.0, abs=1e-4)
    assert torch.allclose(mask, mask.T)
    assert float(mask[16, 16:].diff().max()) <= 0.0
    assert float(mask[0].max()) < 1e-3


def test_equal_bumps_give_a_flat_mask() -> None:
    mask = smooth_mask(torch.full((1, 1, 20, 22), 0.5), (9, 13))
    assert torch.allclose(mask, mask[0, 0, 0, 0].expand(1, 1, 9, 13))


@pytest.mark.slow
def test_it_shows_the_square_that_the_score_needs_and_keeps_the_area() -> None:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = extremal_perturbation(Detail(), x, torch.tensor([0, 0]), areas=(0.15,), steps=60, step_size=0.2)
    assert mask.shape == (2, 1, 64, 64)
    inside = mask[:, 0, 16:32, 32:48].mean((1, 2))
    outside = (mask.sum((1, 2, 3)) - 256 * inside) / (64 * 64 - 256)
    assert bool((inside > 0.8).all())
    assert bool((outside < 0.2).all())
    assert bool(((mask.mean((1, 2, 3)) - 0.15).abs() < 0.05).all())


def test_several_areas_are_averaged() -> None:
    x, y = torch.rand(1, 1, 20, 12, generator=torch.Generator().manual_seed(1)), torch.tensor([2])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 180, 3)).eval()
    apart = [extremal_perturbation(model, x, y, areas=(area,), steps=3) for area in (0.1, 0.4)]
    assert torch.allclose(extremal_perturbation(model, x, y, areas=(0.1, 0.4), steps=3), (apart[0] + apart[1]) / 2)
    assert not torch.equal(*apart)


def test_parameters_out_of_range_are_refused() -> None:
    x, y = torch.rand(1, 1, 4, 4), torch.tensor([0])
    for areas in ((), (0.0,), (0.1, 1.0)):
        with pytest.raises(ConfigError, match="areas"):
            extremal_perturbation(nn.Flatten(), x, y, areas=areas)
    with pytest.raises(ConfigError, match="steps >= 1"):
        extremal_perturbation(nn.Flatten(), x, y, steps=0)
