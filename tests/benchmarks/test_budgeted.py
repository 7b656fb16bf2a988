"""The model that counts: what it notes are examples, within the budget, at their distance."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.peers.budgeted import Budgeted, BudgetSpentError

SHAPE = (3, 1, 2, 2)


class First(nn.Module):
    """Class 1 where the first component exceeds a half, else class 0."""

    def forward(self, z: Tensor) -> Tensor:
        score = z.flatten(1)[:, 0] - 0.5
        return torch.stack([-score, score], 1)


def victim(norm: float = inf, budget: int = 100) -> tuple[Budgeted, Tensor]:
    x = torch.zeros(SHAPE) + torch.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1, 1)
    return Budgeted(First(), x, torch.zeros(3, dtype=torch.int64), norm=norm, budget=budget), x


def moved(x: Tensor, by: list[float]) -> Tensor:
    z = x.clone()
    z[:, 0, 0, 0] += torch.tensor(by)
    return z


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-0.25, 0.875, width=32), min_size=3, max_size=3), min_size=1, max_size=5))
def test_it_notes_the_nearest_example_that_it_was_shown(moves: list[list[float]]) -> None:
    model, x = victim()
    expected = torch.full((3,), inf, dtype=torch.float64)
    for by in moves:
        z = moved(x, by)
        model(z)
        first = z[:, 0, 0, 0]
        shown = torch.where(
            (first > 0.5) & (first <= 1 + 1e-6) & (first >= 0), (z - x).abs().amax((1, 2, 3)).double(), inf
        )
        expected = torch.minimum(expected, shown)
    torch.testing.assert_close(model.nearest, expected, atol=2e-6, rtol=0)
    assert model.forwards.tolist() == [len(moves)] * 3


def test_passes_beyond_the_budget_are_answered_and_not_noted() -> None:
    model, x = victim(budget=2)
    model(x)
    model(moved(x, [0.6, 0.0, 0.0]))  # the second pass of each: within
    assert model.nearest.tolist() == pytest.approx([0.6, inf, inf])
    with pytest.raises(BudgetSpentError):
        model(moved(x, [0.5, 0.5, 0.5]))
    assert model.nearest.tolist() == pytest.approx([0.6, inf, inf])


def test_backward_passes_count() -> None:
    model, x = victim(budget=2)
    z = x.requires_grad_(True)
    torch.autograd.grad(model(z)[:, 0].sum(), z)
    assert (model.forwards.tolist(), model.backwards.tolist()) == ([1] * 3, [1] * 3)
    with pytest.raises(BudgetSpentError):
        model(x)


def test_a_part_of_the_batch_is_told_by_the_nearest_image() -> None:
    model, x = victim(norm=1)
    x[:, 0, 1] = torch.tensor([0.0, 0.5, 1.0])[:, None]  # further apart than the attack goes
    model(moved(x, [0.45, 0.0, 0.25])[[2, 0]])
    assert model.forwards.tolist() == [1, 0, 1]
    assert model.nearest.tolist() == pytest.approx([0.45, inf, 0.25])


def test_out_of_the_box_is_no_example_but_rounding_is_forgiven() -> None:
    model, x = victim()
    model(moved(x, [1.0, 0.8 + 5e-7, 0.7]))
    assert model.nearest.tolist() == pytest.approx([inf, 0.8, 0.7])


def test_a_result_counts_only_within_the_budget() -> None:
    model, x = victim(budget=2)
    model(x[:1])
    model(x[:1])
    model.note_result(moved(x, [0.6, 0.6, 0.1]))
    assert model.nearest.tolist() == pytest.approx([inf, 0.6, inf])
