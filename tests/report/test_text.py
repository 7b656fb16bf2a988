"""Names and numbers as text."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.metrics.medians import Median
from advbench.report.text import UNSEEN, bounds, number, visible


@given(st.text())
def test_nothing_unseen_is_left(text: str) -> None:
    assert not any(unicodedata.category(char) in UNSEEN and char != "\n" for char in visible(text))


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S", "Zs", "M"))))
def test_what_can_be_seen_is_left_alone(text: str) -> None:
    assert visible(text) == text


def test_a_direction_override_is_spelled_out() -> None:
    assert visible("safe\u202egnp.exe") == "safe<U+202E>gnp.exe"


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.0, "12,345"), (0.00213, "0.00213"), (3.14159, "3.14"), (math.inf, "not reached"), (math.nan, "")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.381, 0.45, "0.381 to 0.45"), (0.381, math.inf, "0.381 or more"), (math.inf, math.inf, "")],
)
def test_the_interval_of_a_median_says_where_it_has_no_end(low: float, high: float, text: str) -> None:
    assert bounds(Median(0.4, low, high, 60)) == text
