"""random_search: the best candidate is returned, samples leave when they have reached the goal."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.random_search import random_search
from advbench.types import Evaluation
from tests.strategies import seeds


@given(seeds(), st.integers(0, 5), st.integers(0, 12), st.floats(0.0, 0.6))
def test_it_returns_the_first_success_or_the_lowest_loss(seed: int, count: int, steps: int, goal: float) -> None:
    values = torch.rand(count, steps + 1, generator=torch.Generator().manual_seed(seed))
    asked: list[list[int]] = []

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        asked.append(rows.tolist())
        return Evaluation(z[:, 0], z[:, 0] < goal)

    found = random_search(
        values[:, :1].clone(), objective, propose=lambda best, rows, step: values[rows, step + 1, None], steps=steps
    )
    for row in range(count):
        mine = values[row].tolist()
        hits = [i for i, value in enumerate(mine) if value < goal]
        looks = hits[0] + 1 if hits else steps + 1
        assert sum(row in rows for rows in asked) == looks
        assert float(found.z[row, 0]) == float(found.loss[row]) == min(mine[:looks])
        assert bool(found.reached[row]) == bool(hits)


def test_a_loss_that_is_no_number_is_beaten_by_any() -> None:
    values = torch.tensor([[torch.nan, 2.0, torch.nan, 1.0]])
    found = random_search(
        values[:, :1],
        lambda z, rows: Evaluation(z[:, 0], torch.zeros(len(z), dtype=torch.bool)),
        propose=lambda best, rows, step: values[:, step + 1, None],
        steps=3,
    )
    assert found.z.tolist() == [[1.0]]
