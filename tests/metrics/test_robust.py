"""Robust accuracy, worst case and distances from stored rows."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.metrics.robust import (
    clean_accuracy,
    median_distance,
    nearest_error,
    rates,
    robust_accuracy,
    verdicts,
    worst_case,
)

GRID = (0.1, 0.2, 0.3)


def row(sample: int, eps: float, *, correct: bool = True, adv_pred: int = 0, **changes: object) -> dict[str, object]:
    """A stored row of a sample of class 0."""
    wrong = adv_pred != 0
    prediction = {"label": 0, "clean_correct": correct, "adv_pred": adv_pred, "fooled": wrong or not correct}
    distance = {"linf": eps if wrong else 0.0, "l2": 3 * eps if wrong else 0.0}
    admissible = {"in_ball": True, "in_box": True, "status": "fooled" if wrong else "held"}
    return {"sample_id": sample, "eps": eps, **admissible, **prediction, **distance, **changes}


@st.composite
def tables(draw: st.DrawFn, n: int = 12) -> pd.DataFrame:
    """Rows of one attack with carried successes: a sample that is fooled at an eps stays fooled beyond it."""
    rows = []
    for sample in range(n):
        correct = sample % 4 != 0  # the same for every attack: it is the model's own doing
        first = draw(st.integers(0, len(GRID)))
        rows += [row(sample, eps, correct=correct, adv_pred=int(i >= first)) for i, eps in enumerate(GRID)]
    return pd.DataFrame(draw(st.permutations(rows)))


@given(st.lists(tables(), min_size=1, max_size=4))
def test_the_worst_case_is_at_most_every_attack(attacks: list[pd.DataFrame]) -> None:
    frames = [verdicts(table, math.inf) for table in attacks]
    worst = rates(worst_case(frames))
    for frame in frames:
        assert all(worst[eps].value <= rate.value for eps, rate in rates(frame).items())


@given(st.lists(tables(), min_size=2, max_size=4), st.randoms())
def test_the_worst_case_does_not_depend_on_the_order_of_attacks(attacks: list[pd.DataFrame], random: object) -> None:
    frames = [verdicts(table, math.inf) for table in attacks]
    assert worst_case(frames).equals(worst_case(frames[::-1]))


@given(tables())
def test_robust_accuracy_never_rises_with_eps_when_successes_are_carried(table: pd.DataFrame) -> None:
    values = [rate.value for rate in robust_accuracy(table, math.inf).values()]
    assert values == sorted(values, reverse=True)
    assert values[0] <= clean_accuracy(table).value


@given(tables())
def test_distances_and_radii_tell_the_same_story(table: pd.DataFrame) -> None:
    nearest = nearest_error(table, math.inf)
    held = verdicts(table, math.inf)
    for eps in GRID:
        assert ((nearest > eps * (1 + 1e-6)) == held[eps]).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_minimum_norm_rows_are_read_at_each_radius(distances: list[float], radii: list[float]) -> None:
    table = pd.DataFrame([row(i, math.nan, adv_pred=1, l2=d) for i, d in enumerate(distances)])
    for eps, rate in robust_accuracy(table, 2.0, radii).items():
        assert rate.value == sum(d > eps * (1 + 1e-6) for d in distances) / len(distances)


def test_a_targeted_attack_that_misses_its_target_but_changes_the_class_breaks_the_sample() -> None:
    table = pd.DataFrame([row(0, 0.1, adv_pred=5, fooled=False), row(1, 0.1, adv_pred=0, fooled=False)])
    assert robust_accuracy(table, math.inf)[0.1].value == 0.5


def test_an_example_outside_the_ball_breaks_nothing() -> None:
    table = pd.DataFrame([row(0, 0.1, adv_pred=5, fooled=False, in_ball=False)])
    assert robust_accuracy(table, math.inf)[0.1].value == 1


def test_two_attacks_that_break_different_samples_leave_nothing() -> None:
    first = pd.DataFrame([row(0, 0.1, adv_pred=1), row(1, 0.1)])
    second = pd.DataFrame([row(0, 0.1), row(1, 0.1, adv_pred=1)])
    assert rates(worst_case([verdicts(t, math.inf) for t in (first, second)]))[0.1].value == 0


def test_a_worst_case_needs_the_same_samples() -> None:
    frames = [verdicts(pd.DataFrame([row(i, 0.1)]), math.inf) for i in (0, 1)]
    with pytest.raises(ValueError, match="different samples"):
        worst_case(frames)
    with pytest.raises(ValueError, match="no attack"):
        worst_case([])


def test_a_sample_without_a_row_at_some_eps_is_an_error() -> None:
    with pytest.raises(ValueError, match="every sample at every eps"):
        verdicts(pd.DataFrame([row(0, 0.1), row(0, 0.2), row(1, 0.1)]), math.inf)
    with pytest.raises(ValueError, match="asked for"):
        verdicts(pd.DataFrame([row(0, 0.1)]), math.inf, [0.15])


def test_the_median_distance_counts_clean_errors_as_zero_and_survivors_as_infinite() -> None:
    samples = [row(0, math.nan, correct=False), row(1, math.nan, adv_pred=1, l2=0.5), row(2, math.nan)]
    assert nearest_error(pd.DataFrame(samples), 2.0).tolist() == [0, 0.5, math.inf]
    assert median_distance(pd.DataFrame(samples), 2.0).value == 0.5
    assert median_distance(pd.DataFrame([*samples[1:], row(3, math.nan)]), 2.0).value == math.inf


def test_samples_that_a_goal_does_not_apply_to_are_left_out_of_its_accuracy_and_hold_in_the_worst_case() -> None:
    table = pd.DataFrame([row(0, 0.1, adv_pred=5), row(1, 0.1), row(2, 0.1, status="not_applicable")])
    assert robust_accuracy(table, math.inf)[0.1].value == 0.5
    assert worst_case([verdicts(table, math.inf)])[0.1].tolist() == [False, True, True]
