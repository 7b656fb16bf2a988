"""shorten: examples move back along the straight way to x."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.keep import Kept
from advbench.core.objectives import misclassify
from advbench.core.segment import shorten
from advbench.testing import linear_problem
from advbench.types import Evaluation, ThreatModel
from tests.strategies import norms, seeds, shapes


@settings(max_examples=20)
@given(shapes(largest=3), seeds(), norms(1.0, 2.0, float("inf")))
def test_on_a_line_to_an_example_the_boundary_is_met(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    towards = (problem.model.weight[1 - problem.y] - problem.model.weight[problem.y]).detach()
    towards = (towards / towards.abs().amax(1, keepdim=True)).reshape(problem.x.shape).float()
    far = (problem.x + 0.45 * towards).clamp(0.0, 1.0)
    reached = problem.model(far).argmax(1) != problem.y
    kept = Kept(far, torch.zeros(4), reached)
    found = shorten(misclassify(problem.model, problem.y), problem.x, ThreatModel(norm, None), kept, halvings=16)
    assert bool((problem.model(found.z).argmax(1) != problem.y)[reached].all())
    assert torch.equal(found.z[~reached], far[~reached])
    # A hair nearer to x, and the goal is missed.
    back = found.z - 2.0**-14 * (far - problem.x)
    nearer = problem.model(back).argmax(1) != problem.y
    assert not bool((nearer & reached & (problem.distance(norm) > 1e-3)).any())


def test_a_sample_without_an_example_costs_nothing() -> None:
    x = torch.zeros(3, 1, 1, 1)
    asked: list[list[int]] = []

    def beyond(z: Tensor, rows: Tensor) -> Evaluation:
        asked.append(rows.tolist())
        return Evaluation(0.7 - z.flatten(), z.flatten() >= 0.7)

    kept = Kept(torch.tensor([0.9, 0.5, 0.0]).reshape(3, 1, 1, 1), torch.zeros(3), torch.tensor([True, False, True]))
    found = shorten(beyond, x, ThreatModel(2, None), kept, halvings=12)
    assert asked == [[0]] * 12  # the third is at x already
    assert found.z.flatten().tolist() == pytest.approx([0.7, 0.5, 0.0], abs=1e-3)


@given(st.integers(0, 5))
def test_l0_is_left_alone(halvings: int) -> None:
    x = torch.zeros(1, 1, 1, 1)
    kept = Kept(x + 0.9, torch.zeros(1), torch.tensor([True]))

    def refuse(z: Tensor, rows: Tensor) -> Evaluation:
        raise AssertionError("a shorter way changes as many components")

    assert shorten(refuse, x, ThreatModel(0, None), kept, halvings=halvings) is kept
