"""The oracles that attacks are held against are right themselves."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.norms import lengths
from advbench.testing import LinearProblem, linear_problem
from tests.oracles import ball_cap_share, cap_share, corner_share, shortened_gaussian_share, unit_directions
from tests.strategies import seeds, shapes


@st.composite
def problems(draw: st.DrawFn, *, classes: st.SearchStrategy[int] = st.integers(2, 5)) -> LinearProblem:  # noqa: B008
    return linear_problem(draw(shapes(largest=4)), draw(classes), draw(st.integers(1, 5)), draw(seeds()))


@given(problems(), st.sampled_from((1.0, 2.0, math.inf)))
def test_distance_is_that_of_a_point_on_the_boundary_inside_the_box(problem: LinearProblem, norm: float) -> None:
    distance = problem.distance(norm)
    for i, other in itertools.product(range(len(problem.x)), range(problem.model.weight.shape[0])):
        y = int(problem.y[i])
        if other == y:
            continue
        slope = (problem.model.weight[other] - problem.model.weight[y]).detach()
        step = {1.0: _largest_component(slope), 2.0: slope / slope.norm(), math.inf: slope.sign()}[norm]
        for factor, expected in ((1.0 - 1e-6, y), (1.0 + 1e-6, None)):
            z = problem.x[i].double().flatten() + factor * float(distance[i]) * step
            assert bool(((z > 0.0) & (z < 1.0)).all())
            logits = problem.model.exact(z[None])[0]
            if expected is not None:  # nearer than the distance, no class has taken over
                assert int(logits.argmax()) == expected
    assert torch.equal(problem.model(problem.x).argmax(1), problem.y)


@given(problems(classes=st.just(2)), st.sampled_from((1.0, 2.0, math.inf)))
def test_a_step_of_that_distance_along_the_best_direction_changes_the_class(
    problem: LinearProblem, norm: float
) -> None:
    weight = problem.model.weight.detach()
    slope = weight[1 - problem.y] - weight[problem.y]  # (B, D)
    best = {1.0: torch.stack([_largest_component(s) for s in slope]), 2.0: slope, math.inf: slope.sign()}[norm]
    step = best / lengths(best, norm)[:, None] * problem.distance(norm)[:, None]
    start = problem.x.flatten(1).double()
    assert torch.equal(problem.model.exact(start + 1.000001 * step).argmax(1), 1 - problem.y)
    assert torch.equal(problem.model.exact(start + 0.999999 * step).argmax(1), problem.y)


@given(seeds())
def test_l0_distance_is_that_of_an_exhaustive_search(seed: int) -> None:
    problem = linear_problem((1, 2, 2), 3, 2, seed)
    for x, y, distance in zip(problem.x, problem.y, problem.distance(0.0), strict=True):
        assert float(distance) == _fewest_flips(problem, x.flatten(), int(y))


def test_one_class_is_never_left() -> None:
    problem = linear_problem((1, 2, 2), 1, 3, 0)
    for norm in (0.0, 1.0, 2.0, math.inf):
        assert bool(problem.distance(norm).isinf().all())


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8, 1.0])
def test_cap_shares_are_those_of_a_simulation(size: int, ratio: float) -> None:
    directions = unit_directions(size, 200_000, seed=size)
    on_sphere = float((directions[:, 0] > ratio).double().mean())
    radius = torch.rand(len(directions), generator=torch.Generator().manual_seed(1)).double().pow(1.0 / size)
    in_ball = float((directions[:, 0] * radius > ratio).double().mean())
    assert cap_share(size, ratio) == pytest.approx(on_sphere, abs=0.005)
    assert ball_cap_share(size, ratio) == pytest.approx(in_ball, abs=0.005)


def test_shares_by_hand() -> None:
    assert cap_share(3, 0.5) == pytest.approx(0.25)  # Archimedes: the height of the cap over that of the sphere
    assert cap_share(2, math.cos(math.pi / 6)) == pytest.approx(1 / 6)  # an arc of 60 degrees
    assert corner_share(torch.tensor([1.0, 2.0]), 0.5) == 0.5
    assert corner_share(torch.tensor([1.0, 2.0]), 2.5) == 0.25
    assert shortened_gaussian_share(4, 1.0, 0.999999) == pytest.approx(0.0, abs=1e-6)
    assert shortened_gaussian_share(200, 1.0, 0.1) == pytest.approx(cap_share(200, 0.1), abs=0.01)


def _largest_component(slope: torch.Tensor) -> torch.Tensor:
    index = slope.abs().argmax()
    return torch.zeros_like(slope).index_put((index,), slope[index].sign())


def _fewest_flips(problem: LinearProblem, x: torch.Tensor, y: int) -> float:
    for count in range(len(x) + 1):
        for chosen in itertools.combinations(range(len(x)), count):
            for ends in itertools.product((0.0, 1.0), repeat=count):
                z = x.clone()
                z[list(chosen)] = torch.tensor(ends)
                if int(problem.model.exact(z[None]).argmax()) != y:
                    return float(count)
    return math.inf
