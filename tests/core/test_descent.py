"""The loop: rows leave when they are done, and neither that nor the batch changes what becomes of a sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.descent import descend
from advbench.core.gradients import backprop, in_pieces
from advbench.core.keep import Keep, Kept, keep_latest, keep_nearest, keep_strongest, when_reached
from advbench.core.objectives import Objective
from advbench.core.projections import into_box, within
from advbench.core.step_rules import StepRule, adam, lbfgs, momentum, plain, steepest
from advbench.types import Evaluation, ThreatModel
from tests.strategies import seeds

RULES: dict[str, StepRule] = {
    "steepest": steepest(math.inf, 0.05),
    "momentum": momentum(2.0, 0.1),
    "adam": adam(0.05),
    "plain": plain(0.1),
    "lbfgs": lbfgs(0.5),
}


def beyond(thresholds: Tensor, seen: list[list[int]] | None = None) -> Objective:
    """Climb the sum of z; reached where it passes the row's threshold (B,). `seen` collects the rows asked about."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        if seen is not None:
            seen.append(rows.tolist())
        height = (z + 0.1 * z.sin()).flatten(1).sum(1)
        return Evaluation(-height, height > thresholds[rows])

    return objective


def crossing(width: float) -> Objective:
    """Slide along z; reached only on a strip that a long step passes and leaves behind."""
    return lambda z, rows: Evaluation(-z[:, 0], (z[:, 0] > 1.0) & (z[:, 0] < 1.0 + width))


def some(batch: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, generator=generator).double(), 4.0 * torch.rand(batch, generator=generator).double()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=25)
@given(seed=seeds(), steps=st.integers(0, 12))
def test_leaving_early_does_not_change_the_verdict(rule: StepRule, seed: int, steps: int) -> None:
    z, thresholds = some(5, seed)
    early = descend(z, beyond(thresholds), step=rule, steps=steps, stop=when_reached)
    late = descend(z, beyond(thresholds), step=rule, steps=steps, stop=None)
    assert torch.equal(early.reached, late.reached)
    torch.testing.assert_close(early.z[~late.reached], late.z[~late.reached])


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=25)
@given(seed=seeds(), size=st.integers(1, 5), order=st.permutations(range(5)))
def test_batch_order_and_pieces_change_nothing(rule: StepRule, seed: int, size: int, order: list[int]) -> None:
    z, thresholds = some(5, seed)
    whole = descend(z, beyond(thresholds), step=rule, steps=6)
    with in_pieces(size):
        pieces = descend(z, beyond(thresholds), step=rule, steps=6)
    shuffled = descend(z[order], beyond(thresholds[order]), step=rule, steps=6)
    for found, expected in zip((*pieces, *shuffled), (*whole, *(part[order] for part in whole)), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("keep", [keep_latest, keep_strongest, keep_nearest(torch.zeros(4, 1), 2.0)])
@pytest.mark.parametrize("stop", [None, when_reached])
@given(st.floats(0.3, 0.9), st.integers(4, 9))
def test_a_success_on_the_path_is_never_lost(keep: Keep, stop: object, size: float, steps: int) -> None:
    """Steps of `size` from 0 pass the strip 1 .. 1.95 on the way and end far behind it."""
    start = torch.zeros(4, 1)
    chosen = when_reached if stop is when_reached else None
    kept = descend(start, crossing(0.95), step=steepest(math.inf, size), steps=steps, keep=keep, stop=chosen)
    assert bool(kept.reached.all())
    assert bool(((kept.z > 1.0) & (kept.z < 1.95)).all())


def test_the_start_and_the_last_point_are_looked_at() -> None:
    """Start on the strip, or one step before it with one step to go."""
    start = torch.tensor([[1.5], [0.5], [0.0]])
    kept = descend(start, crossing(1.0), step=steepest(math.inf, 1.0), steps=1)
    assert kept.reached.tolist() == [True, True, False]
    assert kept.z[:, 0].tolist() == [1.5, 1.5, 1.0]


@given(seeds(), st.integers(1, 8), st.sampled_from([None, when_reached]))
def test_without_the_last_look_only_who_has_something_to_lose_is_asked_about(
    seed: int, steps: int, stop: Callable[[Kept], Tensor] | None
) -> None:
    (z, thresholds), seen = some(5, seed), list[list[int]]()
    looked = descend(z, beyond(thresholds), step=plain(0.1), steps=steps, stop=stop)
    unseen = descend(z, beyond(thresholds, seen), step=plain(0.1), steps=steps, stop=stop, last_look=False)
    torch.testing.assert_close(unseen.z, looked.z)
    asked = sum(len(rows) for rows in seen)
    before = descend(z, beyond(thresholds), step=plain(0.1), steps=steps - 1, stop=None).reached
    if stop is None:
        assert asked == 5 * steps + int(before.sum())
    assert bool((looked.reached | ~unseen.reached).all())


def test_without_the_last_look_an_example_on_the_path_is_kept() -> None:
    start = torch.tensor([[0.6], [0.0]])
    kept = descend(start, crossing(0.95), step=steepest(math.inf, 0.7), steps=2, stop=None, last_look=False)
    assert kept.z[:, 0].tolist() == pytest.approx([1.3, 1.4])  # the first passes the strip, the second ends on it


def test_zero_steps_look_at_the_start() -> None:
    start = torch.tensor([[1.5], [0.5]])
    kept = descend(start, crossing(1.0), step=plain(1.0), steps=0)
    assert torch.equal(kept.z, start)
    assert kept.reached.tolist() == [True, False]
    assert kept.loss.tolist() == [-1.5, -0.5]


def test_the_cost_follows_the_work_left() -> None:
    seen: list[list[int]] = []
    thresholds = torch.tensor([-1.0, 3.5, 1000.0, 1.5])
    descend(torch.zeros(4, 1), beyond(thresholds, seen), step=steepest(math.inf, 1.0), steps=5)
    assert seen == [[0, 1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2], [1, 2], [2]]
    seen.clear()
    descend(torch.zeros(2, 1), beyond(thresholds, seen), step=steepest(math.inf, 1.0), steps=3, stop=None)
    assert seen == [[0, 1]] * 4
    seen.clear()
    descend(torch.zeros(2, 1), beyond(torch.tensor([-1.0, -1.0]), seen), step=lbfgs(), steps=9)
    assert seen == [[0, 1]]  # all done at once


@pytest.mark.parametrize("keep", [keep_latest, keep_strongest])
def test_checks_for_leaving_may_be_rare(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: a few steps more, but the same record: who is only carried along keeps what it stopped with."""
    z, thresholds = some(6, 3)
    for stop in (when_reached, lambda kept: kept.loss <= -1.5):
        monkeypatch.setattr("advbench.core.devices._STEPS_BETWEEN_CHECKS", {})
        often = descend(z, beyond(thresholds), step=RULES["adam"], steps=12, keep=keep, stop=stop)
        monkeypatch.setattr("advbench.core.devices._STEPS_BETWEEN_CHECKS", {"cpu": 5})
        rarely = descend(z, beyond(thresholds), step=RULES["adam"], steps=12, keep=keep, stop=stop)
        assert torch.equal(often.reached, rarely.reached)
        torch.testing.assert_close(often.z, rarely.z)
        torch.testing.assert_close(often.loss, rarely.loss)


@given(seeds(), st.integers(0, 6))
def test_every_iterate_is_admissible(seed: int, steps: int) -> None:
    z, thresholds = some(4, seed)
    x = z.clone()
    visited: list[Tensor] = []

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        visited.append((z.detach() - x[rows]).abs().amax())
        assert bool(((z >= 0) & (z <= 1)).all())
        return beyond(thresholds)(z, rows)

    project = within(ThreatModel(math.inf, 0.1), x)
    kept = descend(z, objective, step=steepest(math.inf, 0.07), steps=steps, project=project)
    assert float(torch.stack(visited).max()) <= 0.1 + 1e-9
    assert float((kept.z - x).abs().max()) <= 0.1 + 1e-9


def test_the_variables_handed_in_are_not_written_to() -> None:
    z = torch.zeros(3, 2)
    kept = descend(z, crossing(9.0), step=steepest(math.inf, 1.0), steps=4, project=into_box(0.0, 9.0))
    assert not z.any()
    kept.z.add_(1.0)
    assert not z.any()


def test_an_empty_batch_is_an_empty_record() -> None:
    for steps in (0, 3):
        for rule in RULES.values():
            kept = descend(torch.zeros(0, 2), crossing(1.0), step=rule, steps=steps)
            assert [tuple(part.shape) for part in kept] == [(0, 2), (0,), (0,)]


def test_a_constrained_minimum_is_found() -> None:
    """Nearest point of the box to (2, -1, 0.25) is (1, 0, 0.25)."""
    target = torch.tensor([[2.0, -1.0, 0.25]])
    objective: Objective = lambda z, rows: Evaluation((z - target).square().sum(1), torch.zeros(1, dtype=torch.bool))  # noqa: E731
    kept = descend(torch.full((1, 3), 0.5), objective, step=plain(0.2), steps=60, project=into_box())
    torch.testing.assert_close(kept.z, torch.tensor([[1.0, 0.0, 0.25]]))


def test_another_gradient_can_be_followed() -> None:
    """A gradient that points the other way turns the climb around."""

    def opposite(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
        evaluation, grad = backprop(objective, z, rows)
        return evaluation, -grad

    kept = descend(torch.zeros(1, 1), crossing(1.0), step=steepest(math.inf, 1.0), steps=3, gradient=opposite)
    assert kept.z.item() == -3.0


def test_progress_runs_from_zero_towards_one() -> None:
    seen: list[float] = []
    rule = StepRule(lambda z: (), lambda grad, state, progress: (seen.append(progress) or grad, state))
    descend(torch.zeros(1, 1), crossing(1.0), step=rule, steps=4)
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_the_rule_for_leaving_sees_the_record_of_the_rows_at_work() -> None:
    """Leave when the loss is low enough: rows leave one after the other and keep what they had."""
    start = torch.tensor([[0.0], [2.0], [5.0]])

    def low(kept: Kept) -> Tensor:
        return kept.loss <= -3.0

    kept = descend(start, crossing(0.0), step=steepest(math.inf, 1.0), steps=9, stop=low)
    assert kept.loss.tolist() == [-3.0, -3.0, -5.0]


@pytest.mark.parametrize("between", [1, 5])
@pytest.mark.parametrize("stop", [None, when_reached])
@given(seed=seeds(), taken=st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_steps_that_are_behind_a_sample_are_not_taken_again(
    stop: object, between: int, seed: int, taken: list[int]
) -> None:
    z, thresholds = some(len(taken), seed)
    options = {"step": RULES["steepest"], "keep": keep_latest, "stop": stop}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("advbench.core.devices._STEPS_BETWEEN_CHECKS", {"cpu": between})
        together = descend(z, beyond(thresholds), steps=9, taken=torch.tensor(taken), **options)  # type: ignore[arg-type]
    for i, behind in enumerate(taken):
        alone = descend(z[i : i + 1], beyond(thresholds[i : i + 1]), steps=9 - behind, **options)  # type: ignore[arg-type]
        if between == 1:
            assert torch.equal(together.z[i], alone.z[0])
        assert bool(together.reached[i]) >= bool(alone.reached[0])
