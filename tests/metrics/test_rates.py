"""Rates and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.metrics.rates import wilson


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 5000))
    return draw(st.integers(0, n)), n


@given(counts())
def test_the_interval_contains_the_share_and_stays_in_the_unit_range(count: tuple[int, int]) -> None:
    rate = wilson(*count)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert rate.value == count[0] / count[1]


@given(counts())
def test_the_interval_follows_the_formula_of_the_paper(count: tuple[int, int]) -> None:
    k, n = count
    p, z = k / n, 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    rate = wilson(k, n)
    assert rate.low == pytest.approx(min(p, centre - half), abs=1e-9)
    assert rate.high == pytest.approx(max(p, centre + half), abs=1e-9)


@given(counts(), st.integers(2, 20))
def test_more_samples_with_the_same_share_give_a_narrower_interval(count: tuple[int, int], factor: int) -> None:
    k, n = count
    few, many = wilson(k, n), wilson(k * factor, n * factor)
    assert many.high - many.low < few.high - few.low


@given(counts())
def test_successes_and_failures_mirror_each_other(count: tuple[int, int]) -> None:
    k, n = count
    rate, mirrored = wilson(k, n), wilson(n - k, n)
    assert rate.low == pytest.approx(1 - mirrored.high, abs=1e-12)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_the_interval_covers_the_true_share_about_95_times_in_100(share: float) -> None:
    draws = np.random.default_rng(0).binomial(500, share, size=4000)
    covered = np.mean([wilson(int(k), 500).low <= share <= wilson(int(k), 500).high for k in draws])
    assert 0.93 <= covered <= 0.975


def test_zero_of_a_thousand_may_still_be_four_in_a_thousand() -> None:
    assert wilson(0, 1000).high == pytest.approx(0.00383, abs=1e-5)


def test_no_samples_say_nothing() -> None:
    rate = wilson(0, 0)
    assert math.isnan(rate.value)
    assert (rate.low, rate.high, rate.n) == (0, 1, 0)


@pytest.mark.parametrize(("k", "n"), [(-1, 4), (5, 4)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson(k, n)
