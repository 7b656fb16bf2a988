"""When missing gradients are worth a word, counted by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.metrics.blind import ADVICE, blind
from advbench.registry import ATTACKS


def rows(missed: int, led: int, fooled: int = 0, *, eps: float = 0.1) -> pd.DataFrame:
    """Held without a gradient, held with one, fooled without one; a clean error and a sample of a black-box attack."""
    count = missed + led + fooled
    table = pd.DataFrame(
        {
            "clean_correct": [True] * count + [False, True],
            "fooled": [False] * (missed + led) + [True] * fooled + [True, False],
            "blind": [True] * missed + [False] * led + [True] * fooled + [False, False],
            "backwards": [0] * missed + [5] * led + [1] * fooled + [0, 0],
        }
    )
    return table.assign(eps=eps)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_a_word_is_said_when_more_than_half_of_those_that_held_met_no_gradient(
    missed: int, led: int, fooled: int
) -> None:
    found = blind(rows(missed, led, fooled))
    assert (found is not None) == (missed > led)
    assert found is None or found[:2] == (missed, missed + led)


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 30))
def test_without_a_radius_those_that_fell_count_too(missed: int, led: int, fooled: int) -> None:
    found = blind(rows(missed, led, fooled, eps=math.nan))
    assert (found is not None) == (missed + fooled > led)
    assert found is None or found == (missed + fooled, missed + led + fooled, "were attacked")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (rows(4, 0), "no gradient ever reached x on any of the 4 samples that held: this is no sign of robustness"),
        (rows(3, 1), "on 3 of the 4 samples that held (75%) the gradient was exactly zero at every step"),
    ],
)
def test_what_is_said(table: pd.DataFrame, said: str) -> None:
    assert str(blind(table)).startswith(said)


def test_the_attacks_that_are_advised_exist() -> None:
    assert all(name in ADVICE and name in ATTACKS for name in ("bpda", "apgd_t", "max_margin", "square"))
    assert ATTACKS["hop_skip_jump"].info.access == "decision"
    assert ATTACKS["square"].info.access == "scores"


def test_rows_stored_before_there_was_the_column_say_nothing() -> None:
    assert blind(rows(4, 0).drop(columns="blind")) is None
