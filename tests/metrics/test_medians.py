"""Medians and their intervals."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.metrics.medians import median

distance = st.floats(0, 1e9) | st.just(math.inf)
distances = st.lists(distance, min_size=1, max_size=60)


@given(distances)
def test_the_interval_contains_the_median_and_the_order_of_the_samples_is_nothing(values: list[float]) -> None:
    found = median(values)
    assert 0 <= found.low <= found.value <= found.high
    assert found.n == len(values)
    assert median(reversed(values)) == found


@given(distances, st.data())
def test_a_distance_that_grows_lowers_nothing(values: list[float], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(values) - 1))
    further = [*values[:index], max(values[index], data.draw(distance)), *values[index + 1 :]]
    before, after = median(values), median(further)
    assert before.value <= after.value
    assert before.low <= after.low
    assert before.high <= after.high


@given(distances)
def test_more_confidence_gives_a_wider_interval(values: list[float]) -> None:
    found = [median(values, confidence) for confidence in (0.5, 0.8, 0.95, 0.99)]
    for narrow, wide in pairwise(found):
        assert wide.low <= narrow.low
        assert narrow.high <= wide.high


@given(distances, st.floats(0.01, 100))
def test_the_unit_of_length_is_nothing(values: list[float], unit: float) -> None:
    """Order statistics do not care: the interval of 3 d is 3 times that of d."""
    plain, scaled = median(values), median([unit * value for value in values])
    assert (scaled.low, scaled.high) == (unit * plain.low, unit * plain.high)


@pytest.mark.parametrize("n", [10, 51, 200])
@pytest.mark.parametrize("law", ["exponential", "lognormal", "uniform"])
def test_the_interval_covers_the_true_median_at_least_95_times_in_100(law: str, n: int) -> None:
    """At least, because order statistics come in steps: the exact coverage is 97.9, 95.1 and 96.0 % for these n."""
    rng = np.random.default_rng(0)
    truth = {"exponential": math.log(2), "lognormal": 1.0, "uniform": 0.5}[law]
    found = [median(getattr(rng, law)(size=n)) for _ in range(4000)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    exact = 1 - 2 * sum(math.comb(n, i) for i in range({10: 2, 51: 19, 200: 86}[n])) / 2**n
    assert exact >= 0.95
    assert covered == pytest.approx(exact, abs=0.014)  # four standard errors


def test_ten_samples_by_hand() -> None:
    """P(0 or 1 of 10 coins) = 11 / 1024 = 1.1 %, with two 56 / 1024 = 5.5 %: the second smallest and second largest."""
    assert median([9, 1, 8, 2, 7, 3, 6, 4, 5, 10]) == (5.5, 2, 9, 10)


def test_where_half_hold_the_median_is_not_reached_but_has_a_lower_bound() -> None:
    found = median([1, 2, 3, 4, 5, *[math.inf] * 5])
    assert found == (math.inf, 2, math.inf, 10)
    assert median([0.0, *[math.inf] * 9]) == (math.inf, math.inf, math.inf, 10)


@pytest.mark.parametrize("n", [1, 5])
def test_fewer_than_six_samples_say_nothing(n: int) -> None:
    assert median([0.5] * n) == (0.5, 0.0, math.inf, n)
    assert median([0.5] * 6) == (0.5, 0.5, 0.5, 6)


def test_no_samples_have_no_median() -> None:
    found = median([])
    assert math.isnan(found.value)
    assert found[1:] == (0.0, math.inf, 0)


def test_what_is_no_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        median([1.0, -1.0])
    with pytest.raises(ValueError, match="at least 0, got nan"):
        median([math.nan])
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        median([1.0], 95)
