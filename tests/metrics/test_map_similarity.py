"""Similarity of heat maps: laws, then scipy and loops, then numbers to check by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from advbench.metrics.map_similarity import (
    centre_shift,
    rank_correlation,
    structural_similarity,
    top_k_overlap,
    varies,
)


@st.composite
def two_maps(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two batches of maps of the same shape, some with many equal values."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 14)), draw(st.integers(2, 14)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    a, b = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return (a.round(), b.round()) if draw(st.booleans()) else (a, b)


@settings(max_examples=40, deadline=None)
@given(two_maps(), st.floats(0.1, 50.0), st.floats(-3.0, 3.0))
def test_every_measure_is_symmetric_and_blind_to_a_common_scale(
    maps: tuple[Tensor, Tensor], scale: float, shift: float
) -> None:
    a, b = maps
    k = max(1, a[0].numel() // 3)
    for measure in (rank_correlation, structural_similarity, centre_shift):
        assert torch.allclose(measure(a, b), measure(b, a), atol=1e-9, equal_nan=True)
        assert torch.allclose(measure(a, b), measure(scale * a, scale * b), atol=1e-6, equal_nan=True)
    assert torch.equal(top_k_overlap(a, b, k).nan_to_num(7), top_k_overlap(b, a, k).nan_to_num(7))
    assert torch.allclose(structural_similarity(a, b), structural_similarity(a + shift, b + shift), atol=1e-6)
    assert torch.allclose(rank_correlation(a, -a), -rank_correlation(a, a), atol=1e-12, equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(two_maps())
def test_a_map_is_like_itself_and_a_row_is_judged_alone(maps: tuple[Tensor, Tensor]) -> None:
    a, b = maps
    ones = torch.ones(len(a), dtype=a.dtype)
    varied = a.flatten(1).amax(1) > a.flatten(1).amin(1)
    expected = ones.where(varied, torch.nan)
    assert torch.allclose(top_k_overlap(a, a, 2), expected, equal_nan=True)
    assert torch.allclose(structural_similarity(a, a), ones)
    assert torch.allclose(rank_correlation(a, a), expected, equal_nan=True)
    assert torch.equal(centre_shift(a, a), 0 * ones)
    for measure in (rank_correlation, structural_similarity, centre_shift):
        alone = torch.cat([measure(a[i : i + 1], b[i : i + 1]) for i in range(len(a))])
        assert torch.allclose(measure(a, b), alone, atol=1e-12, equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(two_maps())
def test_rank_correlation_is_scipys(maps: tuple[Tensor, Tensor]) -> None:
    for a, b, found in zip(*maps, rank_correlation(*maps), strict=True):
        if a.min() < a.max() and b.min() < b.max():
            assert float(found) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-9)
        else:
            assert math.isnan(float(found))


@settings(max_examples=30, deadline=None)
@given(two_maps(), st.floats(-5.0, 5.0), st.integers(2, 9))
def test_a_level_map_agrees_with_nothing_not_even_with_itself(
    maps: tuple[Tensor, Tensor], level: float, factor: int
) -> None:
    a = maps[0] + torch.arange(maps[0].shape[-1])
    # Enlarged in float32, as a CAM is: no longer the same bits everywhere.
    flat = torch.full((len(a), 1, 1, 1), level).expand(a.shape[0], a.shape[1], 3, 3)
    flat = functional.interpolate(flat, a.shape[-2:], mode="bicubic").to(a.dtype)
    k = max(1, a[0].numel() // factor)
    for first, second in ((a, flat), (flat, a), (flat, flat)):
        assert bool(rank_correlation(first, second).isnan().all())
        assert bool(top_k_overlap(first, second, k).isnan().all())
    assert not bool(varies(flat).any())
    assert bool(varies(a + 10.0 * torch.arange(a.shape[-1])).all())


def test_structural_similarity_is_the_formula_window_by_window() -> None:
    a, b = torch.rand(2, 1, 1, 15, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = np.arange(11) - 5.0
    weight = np.exp(-0.5 * ((place[:, None] / 1.5) ** 2 + (place[None] / 1.5) ** 2))
    weight /= weight.sum()
    size = float(max(a.max(), b.max()) - min(a.min(), b.min()))
    # The constants assume values that start at 0.
    p, q = ((each - min(a.min(), b.min()))[0, 0].numpy() / size for each in (a, b))
    values = []
    for row in range(5):
        for column in range(3):
            u, v = p[row : row + 11, column : column + 11], q[row : row + 11, column : column + 11]
            mu, mv = (weight * u).sum(), (weight * v).sum()
            su, sv = (weight * (u - mu) ** 2).sum(), (weight * (v - mv) ** 2).sum()
            suv = (weight * (u - mu) * (v - mv)).sum()
            values.append((2 * mu * mv + 1e-4) * (2 * suv + 9e-4) / ((mu**2 + mv**2 + 1e-4) * (su + sv + 9e-4)))
    assert float(structural_similarity(a, b)) == pytest.approx(np.mean(values), abs=1e-9)


def test_numbers_to_check_by_hand() -> None:
    a = torch.tensor([[4.0, 3.0], [2.0, 1.0]])[None, None]
    b = torch.tensor([[4.0, 1.0], [2.0, 3.0]])[None, None]
    # The two largest: {0, 1} and {0, 3}. Ranks differ by 0, 2, 0, 2: 1 - 6 * 8 / (4 * 15) = 0.2.
    assert float(top_k_overlap(a, b, 2)) == 0.5
    assert float(rank_correlation(a, b)) == pytest.approx(0.2)
    points = torch.zeros(2, 1, 8, 8)
    points[0, 0, 1, 2], points[1, 0, 4, 6] = 5.0, -0.1
    assert float(centre_shift(points[:1], points[1:])) == pytest.approx(5.0)  # 3 rows, 4 columns
    assert float(centre_shift(points[:1], torch.zeros(1, 1, 8, 8))) == pytest.approx((2.5**2 + 1.5**2) ** 0.5)


def test_what_does_not_fit_is_refused_and_nothing_is_fine() -> None:
    a = torch.zeros(2, 1, 3, 3)
    with pytest.raises(ValueError, match="one shape"):
        rank_correlation(a, a[:1])
    with pytest.raises(ValueError, match=r"k must be in 1 \.\. 9, got 10"):
        top_k_overlap(a, a, 10)
    nothing = a[:0]
    for measure in (rank_correlation, structural_similarity, centre_shift):
        assert measure(nothing, nothing).shape == (0,)
    assert top_k_overlap(nothing, nothing, 4).shape == (0,)
