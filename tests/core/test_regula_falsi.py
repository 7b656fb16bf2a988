"""The way back from an example ends at the boundary, and never on the wrong side of it."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.gradients import evaluate
from advbench.core.keep import Kept
from advbench.core.losses import margin_loss
from advbench.core.norms import lengths
from advbench.core.objectives import Objective, misclassify
from advbench.core.regula_falsi import pull_back
from advbench.testing import linear_problem
from advbench.types import Evaluation, ThreatModel
from tests.strategies import norms, seeds, shapes

THREAT = ThreatModel(2.0, None)


def crossing_at(place: Tensor, power: float, asked: list[Tensor]) -> Objective:
    """Images of one pixel; the goal is reached above place (B,); the loss bends by `power` on its way to zero."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        asked.append(rows)
        gap = place[rows] - z.flatten(1)[:, 0]
        return Evaluation(gap.sign() * gap.abs() ** power, gap < 0)

    return objective


def walked_back(place: Tensor, power: float, steps: int, asked: list[Tensor], threat: ThreatModel = THREAT) -> Kept:
    x, z = torch.zeros(len(place), 1, 1, 1), torch.ones(len(place), 1, 1, 1)
    objective = crossing_at(place, power, asked)
    rows = torch.arange(len(place))
    at_x, at_z = objective(x, rows), objective(z, rows)
    asked.clear()
    return pull_back(objective, x, at_x.loss, Kept(z, at_z.loss, at_z.reached), threat=threat, steps=steps)


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5), st.sampled_from((0.5, 1.0, 2.0, 3.0)))
def test_it_stops_just_behind_the_boundary(places: list[float], power: float) -> None:
    place = torch.tensor(places)
    found = walked_back(place, power, 12, [])
    assert bool(found.reached.all())
    gap = lengths(found.z, 2.0) - place
    assert bool((gap > 0).all())
    # Past the boundary by 1e-5 of the loss at x, which is far where the loss is flat.
    assert bool((gap < 0.02 + 1e-5 ** (1.0 / power)).all())


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5), st.integers(0, 6))
def test_it_never_goes_away_and_costs_its_steps(places: list[float], steps: int) -> None:
    place = torch.tensor(places)
    asked: list[Tensor] = []
    found = walked_back(place, 2.0, steps, asked)
    assert len(asked) == steps
    assert bool(((lengths(found.z, 2.0) > place) & (lengths(found.z, 2.0) <= 1)).all())


def test_three_steps_are_enough_where_the_loss_is_straight() -> None:
    place = torch.tensor([0.1, 0.5, 0.95])
    gap = lengths(walked_back(place, 1.0, 3, []).z, 2.0) - place
    assert bool((gap > 0).all())
    assert bool((gap <= 0.05**2 * (1.0 - place) + 1e-6).all())  # the nudge of 5 %, twice


def test_an_example_on_the_boundary_itself_is_pushed_past_it() -> None:
    """In another batch rounding would decide about it."""
    place, x, rows = torch.tensor([1.0 - 1e-7, 0.5]), torch.zeros(2, 1, 1, 1), torch.arange(2)
    objective = crossing_at(place, 1.0, [])
    clean, there = objective(x, rows), objective(x + 1.0, rows)
    threat = ThreatModel(2.0, None, high=2.0)
    found = pull_back(objective, x, clean.loss, Kept(x + 1.0, *there), threat=threat, steps=3)
    gap = lengths(found.z, 2.0) - place
    assert bool((gap > 1e-5 * place).all())
    assert bool((gap < 2e-3).all())


def test_samples_without_an_example_and_those_near_enough_are_not_asked() -> None:
    asked: list[Tensor] = []
    found = walked_back(torch.tensor([0.5, 2.0]), 1.0, 3, asked)  # the second is beyond the end of its way
    assert all(rows.tolist() == [0] for rows in asked)
    assert found.z[1] == 1
    assert not found.reached[1]
    asked.clear()
    walked_back(torch.tensor([0.5]), 1.0, 3, asked, ThreatModel(2.0, 1.0))
    assert not asked


@settings(max_examples=20)
@given(shapes(largest=3), seeds(), norms(1.0, 2.0, float("inf")))
def test_on_a_line_to_an_example_the_boundary_is_met(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    towards = (problem.model.weight[1 - problem.y] - problem.model.weight[problem.y]).detach()
    towards = (towards / towards.abs().amax(1, keepdim=True)).reshape(problem.x.shape).float()
    far = (problem.x + 0.45 * towards).clamp(0.0, 1.0)
    objective, rows = misclassify(problem.model, problem.y, loss=margin_loss), torch.arange(4)
    clean, there = evaluate(objective, problem.x, rows), evaluate(objective, far, rows)
    threat = ThreatModel(norm, None)
    found = pull_back(objective, problem.x, clean.loss, Kept(far, *there), threat=threat, steps=8)
    reached = there.reached
    assert bool((problem.model(found.z).argmax(1) != problem.y)[reached].all())
    assert torch.equal(found.z[~reached], far[~reached])
    # A hair nearer to x, and the goal is missed.
    back = found.z - 2.0**-12 * (far - problem.x)
    nearer = problem.model(back).argmax(1) != problem.y
    assert not bool((nearer & reached & (problem.distance(norm) > 1e-3)).any())


def test_in_l0_nothing_is_asked() -> None:
    x = torch.zeros(1, 1, 1, 1)
    kept = Kept(x + 0.9, torch.zeros(1), torch.tensor([True]))

    def refuse(z: Tensor, rows: Tensor) -> Evaluation:
        raise AssertionError("a shorter way changes as many components")

    assert pull_back(refuse, x, torch.ones(1), kept, threat=ThreatModel(0.0, None), steps=3) is kept
