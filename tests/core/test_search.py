"""Search without a gradient: the best proposal is kept and finished rows are not asked again."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.core.keep import Kept, keep_latest, keep_nearest, when_reached
from advbench.core.objectives import Objective
from advbench.core.search import Propose, search
from advbench.types import Evaluation
from tests.strategies import seeds


def low_and_far(threshold: float, seen: list[list[int]] | None = None) -> Objective:
    """Lower |z - 1|; reached where it is below the threshold."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        if seen is not None:
            seen.append(rows.tolist())
        distance = (z - 1.0).abs().flatten(1).sum(1)
        return Evaluation(distance, distance < threshold)

    return objective


def around(draws: Draws) -> Propose:
    """Normal steps from the best so far."""
    return lambda kept, rows, i: kept.z + 0.3 * draws.rows(rows).normal(tuple(kept.z.shape[1:]), "step", i)


@settings(max_examples=25)
@given(seeds(), st.integers(0, 10))
def test_more_proposals_never_make_it_worse_and_the_best_is_kept(seed: int, steps: int) -> None:
    z, propose = torch.zeros(4, 2), around(Draws(seed, torch.arange(4)))
    path = [search(z, low_and_far(0.0), propose=propose, steps=k, stop=None).loss for k in range(steps + 1)]
    assert torch.equal(path[0], torch.full((4,), 2.0))
    assert all(bool((later <= earlier).all()) for earlier, later in pairwise(path))


@settings(max_examples=25)
@given(seeds(), st.integers(1, 4), st.permutations(range(4)))
def test_batch_order_pieces_and_leaving_change_no_verdict(seed: int, size: int, order: list[int]) -> None:
    z, draws = torch.zeros(4, 2), Draws(seed, torch.arange(4))
    whole = search(z, low_and_far(1.2), propose=around(draws), steps=8)
    with in_pieces(size):
        pieces = search(z, low_and_far(1.2), propose=around(draws), steps=8)
    shuffled = search(z[order], low_and_far(1.2), propose=around(draws.rows(torch.tensor(order))), steps=8)
    stayed = search(z, low_and_far(1.2), propose=around(draws), steps=8, stop=None)
    for found, expected in zip((*pieces, *shuffled), (*whole, *(part[order] for part in whole)), strict=True):
        torch.testing.assert_close(found, expected)
    assert torch.equal(stayed.reached, whole.reached)


@pytest.mark.parametrize("stop", [None, when_reached])
def test_a_success_is_never_lost_to_a_later_failure(stop: object) -> None:
    path = [5.0, 1.01, 7.0, -3.0]
    kept = search(
        torch.zeros(1, 1),
        low_and_far(0.1),
        propose=lambda kept, rows, i: torch.full_like(kept.z, path[i]),
        steps=4,
        keep=keep_latest,
        stop=when_reached if stop is when_reached else None,
    )
    assert kept.reached.item()
    assert kept.z.item() == pytest.approx(1.01)


def test_finished_rows_are_not_asked_again() -> None:
    seen: list[list[int]] = []
    start = torch.tensor([[1.0], [0.0], [-1.0]])
    kept = search(start, low_and_far(0.5, seen), propose=lambda kept, rows, i: kept.z + 1.0, steps=5)
    assert seen == [[0, 1, 2], [1, 2], [2]]
    assert kept.z[:, 0].tolist() == [1.0, 1.0, 1.0]


def test_nearest_of_the_successes_is_kept_when_asked() -> None:
    path = [1.2, 0.9, 1.1]
    kept = search(
        torch.zeros(1, 1),
        low_and_far(0.3),
        propose=lambda kept, rows, i: torch.full_like(kept.z, path[i]),
        steps=3,
        keep=keep_nearest(torch.zeros(1, 1), math.inf),
        stop=None,
    )
    assert kept.z.item() == pytest.approx(0.9)


def test_zero_steps_and_empty_batches_are_defined() -> None:
    propose: Propose = lambda kept, rows, i: kept.z  # noqa: E731
    kept = search(torch.tensor([[1.0], [0.0]]), low_and_far(0.5), propose=propose, steps=0)
    assert kept.reached.tolist() == [True, False]
    empty = search(torch.zeros(0, 2), low_and_far(0.5), propose=propose, steps=3)
    assert [tuple(part.shape) for part in empty] == [(0, 2), (0,), (0,)]


def test_the_start_and_the_record_are_not_written_to() -> None:
    z = torch.zeros(2, 1)

    def propose(kept: Kept, rows: Tensor, i: int) -> Tensor:
        return kept.z.add_(1.0)  # a careless caller

    search(z, low_and_far(0.0), propose=propose, steps=2, stop=None)
    assert not z.any()
