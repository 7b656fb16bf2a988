"""Robust accuracy against passes, from stored rows."""

from __future__ import annotations

import math
from functools import partial

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.bench.evaluate import evaluate
from advbench.datasets.load import load_dataset
from advbench.metrics.budget import budget_steps, longest_run, passes_to_error, robust_after
from advbench.metrics.robust import clean_accuracy, robust_accuracy
from advbench.types import ThreatModel

GRID = (0.1, 0.2, 0.3)


def row(sample: int, eps: float, **changes: object) -> dict[str, object]:
    """A stored row of a sample of class 0 that held through a run of 10 forward and 9 backward passes."""
    facts: dict[str, object] = {
        "sample_id": sample, "eps": eps, "label": 0, "clean_correct": True, "adv_pred": 0, "fooled": False,
        "in_ball": True, "in_box": True, "l0": 0.0, "l1": 0.0, "l2": 0.0, "linf": 0.0, "first_success_step": -1,
        "forwards": 10, "backwards": 9, "status": "held", "evidence": "run",
    }  # fmt: skip
    return {**facts, **changes}


def fooled(sample: int, eps: float, first: int, **changes: object) -> dict[str, object]:
    length = {"l2": eps + sample, "linf": eps, "first_success_step": first}
    return row(sample, eps, adv_pred=1, fooled=True, status="fooled", **{**length, **changes})


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Rows over a grid as the runner writes them: found at one radius, carried to the larger ones."""
    rows: list[dict[str, object]] = []
    for sample in range(draw(st.integers(1, 12))):
        if draw(st.booleans()) and sample % 3 == 0:
            nothing = {"clean_correct": False, "adv_pred": 1, "fooled": True, "forwards": 0, "backwards": 0}
            rows += [row(sample, eps, status="clean_error", **nothing, first_success_step=0) for eps in GRID]
            continue
        falls, first = draw(st.integers(0, len(GRID))), draw(st.integers(-1, 9))
        rows += [row(sample, eps) for eps in GRID[:falls]]
        rows += [fooled(sample, eps, first) for eps in GRID[falls : falls + 1]]
        for eps in GRID[falls + 1 :]:
            found = {"linf": GRID[falls], "l2": GRID[falls] + sample}
            rows.append(fooled(sample, eps, first, evidence="carried", forwards=0, backwards=0, **found))
    return pd.DataFrame(draw(st.permutations(rows)))


@settings(max_examples=30)
@given(tables(), st.sampled_from(GRID))
def test_without_a_limit_the_curve_ends_at_the_robust_accuracy(table: pd.DataFrame, eps: float) -> None:
    passes = passes_to_error(table, math.inf, eps)
    assert robust_after(passes, 10**9) == robust_accuracy(table, math.inf)[eps]
    assert budget_steps(passes)[-1][1] == robust_accuracy(table, math.inf)[eps].value


@settings(max_examples=30)
@given(tables(), st.sampled_from(GRID))
def test_with_no_pass_it_begins_at_the_clean_accuracy_and_never_rises(table: pd.DataFrame, eps: float) -> None:
    passes = passes_to_error(table, math.inf, eps)
    shares = [robust_after(passes, budget).value for budget in range(21)]
    assert shares[0] == clean_accuracy(table).value
    assert shares == sorted(shares, reverse=True)


@settings(max_examples=30)
@given(tables(), st.sampled_from(GRID))
def test_the_corners_are_the_shares_at_their_passes(table: pd.DataFrame, eps: float) -> None:
    passes = passes_to_error(table, math.inf, eps)
    assert budget_steps(passes)[0][0] == 0
    for corner, share in budget_steps(passes):
        assert share == robust_after(passes, corner).value


@settings(max_examples=30)
@given(tables(), st.sampled_from(GRID))
def test_nobody_falls_after_the_longest_run(table: pd.DataFrame, eps: float) -> None:
    passes = passes_to_error(table, math.inf, eps)
    most = max(longest_run(table, radius) for radius in GRID)
    assert (passes[passes < math.inf] <= most).all()


@settings(max_examples=30)
@given(tables())
def test_a_carried_example_counts_where_it_was_found(table: pd.DataFrame) -> None:
    by_radius = {eps: passes_to_error(table, math.inf, eps) for eps in GRID}
    for before, after in ((0.1, 0.2), (0.2, 0.3)):
        found = by_radius[before] < math.inf
        assert by_radius[after][found].equals(by_radius[before][found])


def test_an_example_by_hand() -> None:
    """10 forwards and 9 backwards: the third forward pass stands for 3 x 1.9 = 5.7 passes, a sixth begun."""
    table = pd.DataFrame([fooled(0, 0.1, 2), fooled(1, 0.1, -1), row(2, 0.1), fooled(3, 0.1, 0, backwards=0)])
    passes = passes_to_error(table, math.inf, 0.1)
    assert passes.to_dict() == {0: 6.0, 1: 19.0, 2: math.inf, 3: 1.0}
    assert budget_steps(passes) == ((0.0, 1.0), (1.0, 0.75), (6.0, 0.5), (19.0, 0.25))
    assert robust_after(passes, 5).value == 0.75
    assert longest_run(table, 0.1) == 19


def test_an_attack_that_never_asks_costs_nothing() -> None:
    table = pd.DataFrame([fooled(0, 0.1, -1, forwards=0, backwards=0), row(1, 0.1, forwards=0, backwards=0)])
    passes = passes_to_error(table, math.inf, 0.1)
    assert passes.tolist() == [0.0, math.inf]
    assert budget_steps(passes) == ((0.0, 0.5),)
    assert longest_run(table, 0.1) == 0


def test_rows_without_a_radius_know_only_when_any_distance_was_reached() -> None:
    table = pd.DataFrame([fooled(0, math.nan, 2, l2=0.5), fooled(1, math.nan, 4, l2=2.0), row(2, math.nan)])
    assert passes_to_error(table, 2.0, math.inf).tolist() == [6.0, 10.0, math.inf]
    assert passes_to_error(table, 2.0, 1.0).tolist() == [19.0, math.inf, math.inf]


def test_a_radius_run_from_above_costs_what_its_own_ball_took() -> None:
    """Nested: found in the large ball, found again in the small one; a sample that held above is not attacked below."""
    rows = [fooled(0, 0.2, 1), fooled(0, 0.1, 7, linf=0.1), row(1, 0.2), row(1, 0.1, evidence="nested", forwards=0)]
    table = pd.DataFrame(rows)
    assert passes_to_error(table, math.inf, 0.1).tolist() == [16.0, math.inf]
    assert passes_to_error(table, math.inf, 0.2).tolist() == [4.0, math.inf]


def test_samples_that_a_goal_does_not_apply_to_are_left_out() -> None:
    table = pd.DataFrame([fooled(0, 0.1, 0), row(1, 0.1, status="not_applicable")])
    assert passes_to_error(table, math.inf, 0.1).to_dict() == {0: 2.0}


def test_a_radius_that_was_not_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"eps 0.15 asked for, the rows have \[0.1\]"):
        passes_to_error(pd.DataFrame([row(0, 0.1)]), math.inf, 0.15)


@pytest.fixture(scope="module")
def attacked() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """The nearest class mean as a linear model, and digits."""
    data = load_dataset("digits", "test")
    images, labels = data.images(torch.arange(60)), data.labels[:60]
    means = torch.stack([images[labels == label].flatten(1).mean(0) for label in range(10)])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        model[1].weight.copy_(means)
        model[1].bias.copy_(-means.square().sum(1) / 2)
    return model, images, labels


def test_one_run_tells_what_runs_with_a_budget_find(attacked: tuple[nn.Module, torch.Tensor, torch.Tensor]) -> None:
    """The oracle: the same attack, stopped by force after so many passes."""
    threat = ThreatModel(math.inf, 0.3)
    rows = partial(evaluate, *attacked, attack="square", threat=threat, queries=60)
    passes = passes_to_error(rows().to_pandas(), math.inf, 0.3)
    shares = [robust_after(passes, budget).value for budget in (2, 5, 15, 40)]
    assert shares == [float(rows(budget=budget).robust.double().mean()) for budget in (2, 5, 15, 40)]
    assert len(set(shares)) == 4


def test_a_gradient_attack_that_is_stopped_has_one_step_more_than_it_has_seen(
    attacked: tuple[nn.Module, torch.Tensor, torch.Tensor],
) -> None:
    """What it hands in lies one step, two passes, beyond the last point that it asked about."""
    rows = partial(evaluate, *attacked, attack="pgd", threat=ThreatModel(math.inf, 0.3), steps=20, step_size=0.02)
    passes = passes_to_error(rows().to_pandas(), math.inf, 0.3)
    for budget in (10, 15, 25):
        forced = float(rows(budget=budget).robust.double().mean())
        assert robust_after(passes, budget + 2).value <= forced <= robust_after(passes, budget).value
