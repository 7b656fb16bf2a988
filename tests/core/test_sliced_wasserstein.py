"""Sliced Wasserstein distance and nearest features against brute force."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from advbench.core.draws import Draws
from advbench.core.nearest_features import nearest_features
from advbench.core.sliced_wasserstein import image_distance, random_directions, sliced_wasserstein


def field(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 50), st.integers(1, 5))
def test_it_is_zero_for_permuted_positions_and_only_then(seed: int, channels: int) -> None:
    x = field(seed, 2, channels, 4, 5)
    shuffled = x.flatten(2)[:, :, torch.randperm(20, generator=torch.Generator().manual_seed(seed))].reshape(x.shape)
    assert bool((image_distance(x, shuffled) < 1e-10).all())
    assert bool((image_distance(x, x + 1.0) > 1e-3).all())


@given(st.integers(0, 50))
def test_on_one_line_it_is_the_exact_distance(seed: int) -> None:
    x, y = field(seed, 1, 1, 3, 4), field(seed + 1, 1, 1, 4, 3)
    ones = torch.ones(1, 1, 1)
    squared = (x.flatten().sort().values - y.flatten().sort().values).square().mean()
    torch.testing.assert_close(sliced_wasserstein(x, y, ones)[0], squared)
    shifted = sliced_wasserstein(x, x - 0.5, ones)[0].sqrt()
    assert abs(float(shifted) - wasserstein_distance(x.flatten().numpy(), (x - 0.5).flatten().numpy())) < 1e-5


def test_another_number_of_positions_is_read_off_the_quantiles() -> None:
    x = field(0, 1, 3, 8, 8)
    assert float(image_distance(x.repeat(1, 1, 2, 2), x)) < 0.01 * float(image_distance(x * 2, x))


def test_directions_have_length_1_and_belong_to_their_sample() -> None:
    draws = Draws(0, torch.tensor([3, 8]))
    lines = random_directions(draws, 5, 7, "lines", 2)
    torch.testing.assert_close(lines.norm(dim=2), torch.ones(2, 7))
    assert torch.equal(lines[1:], random_directions(draws.rows(torch.tensor([1])), 5, 7, "lines", 2))


@given(st.integers(0, 50))
def test_nearest_features_equal_brute_force(seed: int) -> None:
    x, y = field(seed, 2, 3, 4, 2), field(seed + 1, 2, 3, 3, 3)
    for i in range(2):
        a, b = x[i].flatten(1).T, y[i].flatten(1).T
        cosines = (a @ b.T) / (a.norm(dim=1)[:, None] * b.norm(dim=1)[None])
        torch.testing.assert_close(nearest_features(x, y)[i], (1 - cosines.max(1).values).mean())


@given(st.integers(0, 50), st.floats(0.1, 10.0))
def test_nearest_features_see_directions_only(seed: int, factor: float) -> None:
    x, y = field(seed, 1, 3, 4, 2), field(seed + 1, 1, 3, 3, 3)
    torch.testing.assert_close(nearest_features(factor * x, y), nearest_features(x, y), atol=1e-5, rtol=1e-4)
    among = torch.cat([y, x.reshape(1, 3, 2, 4)[:, :, :1, :3]], dim=2)
    assert float(nearest_features(2.0 * y, among)) < 1e-6
