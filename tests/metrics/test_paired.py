"""McNemar's exact test against the binomial sum, Holm's correction against its own procedure."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.metrics.paired import LEAST_DISCORDANT, holm, paired

verdicts = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)
shares = st.lists(st.floats(0, 1), max_size=12)


def two(pairs: list[tuple[bool, bool]]) -> tuple[pd.Series, pd.Series]:
    return tuple(pd.Series([pair[k] for pair in pairs], dtype=bool) for k in (0, 1))  # type: ignore[return-value]


@given(verdicts)
def test_the_order_of_the_two_changes_the_sign_alone(pairs: list[tuple[bool, bool]]) -> None:
    one, other = two(pairs)
    here, there = paired(one, other), paired(other, one)
    assert (here.p, here.n, here.first, here.second) == (there.p, there.n, there.second, there.first)
    assert not pairs or math.isclose(here.difference, -there.difference)
    assert not pairs or math.isclose(here.low, -there.high, abs_tol=1e-12)


@given(verdicts)
def test_p_is_the_binomial_sum(pairs: list[tuple[bool, bool]]) -> None:
    """Oracle: both tails of a fair coin tossed once per discordant sample."""
    found = paired(*two(pairs))
    n, k = found.discordant, min(found.first, found.second)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert math.isclose(found.p, min(1.0, 2 * tail), rel_tol=1e-9)


@given(verdicts, st.integers(1, 30))
def test_samples_on_which_both_agree_change_no_p(pairs: list[tuple[bool, bool]], more: int) -> None:
    agreed = [(True, True)] * more + [(False, False)] * more
    assert paired(*two(pairs)).p == paired(*two(pairs + agreed)).p


def test_too_few_discordant_samples_show_nothing() -> None:
    assert all(paired(*two([(True, False)] * few)).p > 0.05 for few in range(LEAST_DISCORDANT))
    assert paired(*two([(True, False)] * LEAST_DISCORDANT)).p < 0.05


def test_by_hand() -> None:
    """10 samples, 1 against 7 discordant: p = 2 (1 + 8) / 2^8; with 2 samples more, 1.5 and 7.5 of them discordant, the
    interval is -6 / 12 +- 1.96 sqrt(9 - 36 / 12) / 12.
    """
    found = paired(*two([(True, False)] + [(False, True)] * 7 + [(True, True)] * 2))
    assert found.p == pytest.approx(18 / 256)
    assert found.difference == pytest.approx(-0.6)
    assert found.high == pytest.approx(-0.5 + 1.96 * math.sqrt(6) / 12, abs=1e-4)
    assert found.low == pytest.approx(-0.5 - 1.96 * math.sqrt(6) / 12, abs=1e-4)
    same = pd.Series([True] * 40)
    assert paired(same, same).low == pytest.approx(-paired(same, same).high) == pytest.approx(-1.96 / 42, abs=1e-4)


def test_only_common_samples_are_compared() -> None:
    one, other = pd.Series([True, False], index=[3, 5]), pd.Series([True, True], index=[5, 9])
    assert paired(one, other)[:3] == (1, 0, 1)
    assert paired(one, other.loc[[9]])[:4] == (0, 0, 0, 1.0)


@given(shares, st.floats(0.001, 0.999))
def test_holm_rejects_what_its_step_down_procedure_rejects(values: list[float], level: float) -> None:
    rejected = set()
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if (len(values) - rank) * values[index] > level:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(values)) if p <= level} == rejected


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
