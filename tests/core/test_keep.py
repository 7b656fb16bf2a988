"""Keep rules: an adversarial example is never lost; the rules decide among equals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.keep import (
    Keep,
    Kept,
    best_of_copies,
    keep_better,
    keep_latest,
    keep_nearest,
    keep_strongest,
    nothing_kept,
)
from advbench.types import Evaluation

X = torch.zeros(1, 2)
RULES: dict[str, Keep] = {
    "latest": keep_latest,
    "strongest": keep_strongest,
    "nearest": keep_nearest(X, 2.0),
}
quarters = st.integers(-12, 12).map(lambda n: n / 4)  # exact in float32, and equal ones are likely
iterates = st.lists(st.tuples(quarters, quarters, st.booleans()), min_size=1, max_size=8)


def followed(path: list[tuple[float, float, bool]], keep: Keep) -> Kept:
    """The record after iterates (position, loss, reached) of one sample."""
    kept = nothing_kept(X + path[0][0])
    for position, loss, reached in path:
        evaluation = Evaluation(torch.tensor([loss]), torch.tensor([reached]))
        kept = keep_better(kept, X + position, evaluation, torch.tensor([0]), keep)
    return kept


@pytest.mark.parametrize("keep", RULES.values(), ids=RULES)
@given(iterates)
def test_reached_once_is_reached_for_good_and_the_kept_point_was_seen(
    keep: Keep, path: list[tuple[float, float, bool]]
) -> None:
    kept = followed(path, keep)
    assert kept.reached.item() == any(reached for _, _, reached in path)
    assert (kept.z[0, 0].item(), kept.loss.item(), kept.reached.item()) in path


@given(iterates)
def test_each_rule_keeps_what_its_name_says(path: list[tuple[float, float, bool]]) -> None:
    candidates = [each for each in path if each[2]] or path
    latest, strongest, nearest = (followed(path, keep) for keep in RULES.values())
    assert (latest.z[0, 0].item(), latest.loss.item()) == candidates[-1][:2]
    assert strongest.loss.item() == min(loss for _, loss, _ in candidates)
    if any(reached for _, _, reached in path):
        assert abs(nearest.z[0, 0].item()) == min(abs(position) for position, _, _ in candidates)
    else:
        assert nearest.loss.item() == min(loss for _, loss, _ in path)


def test_of_equals_the_first_is_kept() -> None:
    path = [(1.0, 0.0, True), (2.0, 0.0, True), (-1.0, 3.0, True)]
    assert followed(path, keep_strongest).z[0, 0].item() == 1.0
    assert followed(path, keep_nearest(X, 2.0)).z[0, 0].item() == 1.0


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("keep", RULES.values(), ids=RULES)
def test_a_success_is_kept_whatever_its_loss(keep: Keep, loss: float) -> None:
    kept = followed([(1.0, 0.5, False), (2.0, loss, True), (3.0, -9.0, False)], keep)
    assert kept.reached.item()
    assert kept.z[0, 0].item() == 2.0


@pytest.mark.parametrize("keep", [keep_strongest, keep_nearest(X, 2.0)])
def test_a_loss_that_is_not_a_number_is_beaten_by_any_other(keep: Keep) -> None:
    assert followed([(1.0, math.nan, False), (2.0, 5.0, False), (3.0, math.nan, False)], keep).loss.item() == 5.0


def test_only_the_named_rows_change_and_nothing_is_written_in_place() -> None:
    start = nothing_kept(torch.zeros(3, 1))
    copies = [part.clone() for part in start]
    evaluation = Evaluation(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    kept = keep_better(start, torch.tensor([[7.0], [8.0]]), evaluation, torch.tensor([2, 0]), keep_latest)
    assert kept.z[:, 0].tolist() == [8.0, 0.0, 7.0]
    assert kept.loss.tolist() == [2.0, math.inf, 1.0]
    assert kept.reached.tolist() == [False, False, True]
    assert all(torch.equal(part, copy) for part, copy in zip(start, copies, strict=True))


def test_the_record_starts_as_a_copy_that_anything_beats() -> None:
    z = torch.ones(2, 3)
    kept = nothing_kept(z)
    assert torch.equal(kept.z, z)
    assert kept.z.data_ptr() != z.data_ptr()
    assert followed([(1.0, math.inf, False)], keep_strongest).z[0, 0].item() == 1.0


@given(st.lists(iterates.filter(lambda path: len(path) >= 2).map(lambda path: path[:2]), min_size=1, max_size=4))
def test_the_best_copy_is_what_keeping_the_strongest_of_them_gives(
    samples: list[list[tuple[float, float, bool]]],
) -> None:
    position, loss, reached = (
        torch.tensor(part) for part in zip(*(copy for path in samples for copy in path), strict=True)
    )
    best, which = best_of_copies(Kept(position[:, None], loss, reached), 2)
    for i, path in enumerate(samples):
        expected = (best.z[i].item(), best.loss[i].item(), best.reached[i].item())
        assert path[int(which[i])] == expected
        assert expected[2] == any(copy[2] for copy in path)
        if not expected[2]:
            assert expected[1] == min(copy[1] for copy in path)


def test_the_best_member_is_one_that_fools_and_then_the_lowest() -> None:
    losses = torch.tensor([3.0, 1.0, 2.0, -4.0, 5.0, 6.0])
    reached = torch.tensor([False, False, False, False, True, False])
    best, which = best_of_copies(Kept(losses[:, None].clone(), losses, reached), 3)
    assert which.tolist() == [1, 1]
    assert best.z.flatten().tolist() == [1.0, 5.0]
    assert best.reached.tolist() == [False, True]
