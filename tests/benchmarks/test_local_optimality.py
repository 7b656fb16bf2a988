"""Local optimality: the closed form against a numeric integral, its laws, and an example checkable by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from benchmarks.peers.local_optimality import Distances, difference, global_optimality, local_optimality, with_interval

INF = np.inf


@st.composite
def pools(draw: st.DrawFn) -> Distances:
    """Distances (attacks, n), clean errors the same for all, some samples never broken; somebody breaks something."""
    attacks, n = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    distance = st.one_of(st.floats(0.01, 10.0), st.just(INF))
    rows = [[draw(distance) for _ in range(n)] for _ in range(attacks)]
    wrong = np.array([draw(st.booleans()) for _ in range(n)])
    pool = np.where(wrong, 0.0, np.array(rows))
    assume((np.isfinite(pool.min(0)) & ~wrong).any())
    return pool


def integral(distances: Distances, far: float) -> float:
    """The area under the robust accuracy from 0 to far, by the midpoint rule."""
    count = 20_000
    eps = (np.arange(count) + 0.5) * far / count
    return float((distances[None] > eps[:, None]).mean(1).mean() * far)


@given(pools())
def test_the_closed_form_is_the_area_under_the_curve(pool: Distances) -> None:
    best = pool.min(0)
    far = best[np.isfinite(best)].max()
    clean = (best > 0).mean()
    least = integral(best, far)
    assume(clean * far - least > 0.01 * far)
    for distances in pool:
        expected = 1 - (integral(distances, far) - least) / (clean * far - least)
        assert_allclose(local_optimality(distances, best), expected, atol=0.02)


@given(pools())
def test_it_is_1_for_the_best_and_never_more(pool: Distances) -> None:
    best = pool.min(0)
    assert_allclose(local_optimality(best, best), 1.0)
    values = [local_optimality(distances, best) for distances in pool]
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in values)


@given(pools(), st.floats(0.1, 10.0))
def test_the_unit_of_distance_does_not_matter(pool: Distances, unit: float) -> None:
    best = pool.min(0)
    for distances in pool:
        assert_allclose(local_optimality(distances * unit, best * unit), local_optimality(distances, best), atol=1e-6)


def test_four_samples_by_hand() -> None:
    # A clean error, distances 1 and 2, one sample that nobody broke: E = 2, A* = (0 + 1 + 2 + 2) / 4.
    best = np.array([0.0, 1.0, 2.0, INF])
    # The attack misses the second: A = (0 + 2 + 2 + 2) / 4. Room: 3 / 4 * 2 - 5 / 4 = 1 / 4.
    assert local_optimality(np.array([0.0, INF, 2.0, INF]), best) == pytest.approx(0.0)
    assert local_optimality(np.array([0.0, 1.5, 2.0, INF]), best) == pytest.approx(0.5)
    assert local_optimality(best, best) == pytest.approx(1.0)


def test_an_attack_that_finds_nothing_has_0() -> None:
    best = np.array([0.0, 1.0, 2.0])
    assert local_optimality(np.array([0.0, INF, INF]), best) == pytest.approx(0.0)


def test_no_room_counts_as_optimal() -> None:
    same = np.array([0.0, 2.0, 2.0])
    assert local_optimality(np.array([0.0, 3.0, 2.0]), same) == 1.0


def test_the_interval_holds_the_value_and_narrows_with_more_samples() -> None:
    rng = np.random.default_rng(1)
    best = rng.uniform(1, 2, 400)
    worse = best + rng.uniform(0, 0.2, 400)
    few, many = with_interval(worse[:25], best[:25]), with_interval(worse, best)
    for each in (few, many):
        assert each.low <= each.value <= each.high
    assert many.high - many.low < few.high - few.low
    assert with_interval(worse, best) == many


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(2)
    best = rng.uniform(1, 5, 60)
    one = best + 0.1
    gap = difference(one, one + 0.05, best)
    assert 0 < gap.low <= gap.value <= gap.high
    assert gap.high - gap.low < with_interval(one, best).high - with_interval(one, best).low
    assert difference(one, one, best) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("distances", "best"), [([1.0, 1.0], [1.0, 2.0]), ([INF, INF], [INF, INF]), ([0.0, INF], [0.0, INF])]
)
def test_what_is_not_defined_is_refused(distances: list[float], best: list[float]) -> None:
    with pytest.raises(ValueError, match="pool"):
        local_optimality(np.array(distances), np.array(best))


def test_global_optimality_is_the_mean_over_nets() -> None:
    assert global_optimality([1.0, 0.5]) == 0.75
    with pytest.raises(ValueError, match="at least one net"):
        global_optimality([])
