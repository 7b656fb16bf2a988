"""The projection onto a hyperplane in the box: on it, in the box, and no point of both is nearer."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from advbench.core.hyperplanes import Hyperplane, distance, onto_hyperplane, shortest_move
from advbench.core.norms import dual, lengths
from tests.strategies import deltas_like, images, norms, seeds

NORMS = (1.0, 2.0, math.inf)
ALL = (0.0, *NORMS)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Hyperplane]:
    """Points of the box and hyperplanes, near and far, some out of reach, some without a normal."""
    z = draw(images()).double()
    normal = draw(deltas_like(z))
    reach = 0.5 * normal.flatten(1).abs().sum(1)
    share = torch.tensor(draw(st.lists(st.floats(-1.5, 1.5), min_size=len(z), max_size=len(z))), dtype=torch.float64)
    return z, Hyperplane(share * reach, normal)


def left_over(z: Tensor, plane: Hyperplane, p: Tensor) -> Tensor:
    """The affine function at p (A,)."""
    return plane.value + (plane.normal * (p - z)).flatten(1).sum(1)


def best_value(z: Tensor, plane: Hyperplane) -> Tensor:
    """How near to 0 the affine function (A,) can come in the box, from the side of z."""
    ends = torch.where(plane.value.reshape(-1, 1, 1, 1) * plane.normal > 0, -z, 1.0 - z)
    return ((plane.value + (plane.normal * ends).flatten(1).sum(1)) * plane.value.sign()).clamp_min(0.0)


@given(cases(), norms(*ALL))
def test_it_lies_in_the_box_and_on_the_hyperplane_or_as_near_as_the_box_allows(
    case: tuple[Tensor, Hyperplane], norm: float
) -> None:
    z, plane = case
    p = onto_hyperplane(z, plane, norm)
    assert bool(((p >= 0) & (p <= 1)).all())
    scale = 1e-12 + plane.value.abs() + plane.normal.flatten(1).abs().sum(1)
    assert bool(((left_over(z, plane, p).abs() - best_value(z, plane)).abs() <= 1e-9 * scale).all())


@given(cases(), norms(*ALL))
def test_a_point_of_the_hyperplane_stays(case: tuple[Tensor, Hyperplane], norm: float) -> None:
    z, plane = case
    assert torch.equal(onto_hyperplane(z, Hyperplane(torch.zeros_like(plane.value), plane.normal), norm), z)


@given(cases(), norms(*ALL))
def test_the_side_does_not_matter(case: tuple[Tensor, Hyperplane], norm: float) -> None:
    z, plane = case
    other = Hyperplane(-plane.value, -plane.normal)
    assert torch.equal(onto_hyperplane(z, plane, norm), onto_hyperplane(z, other, norm))


@given(cases(), norms(*NORMS))
def test_without_the_box_the_distance_is_the_closed_form(case: tuple[Tensor, Hyperplane], norm: float) -> None:
    z, plane = case
    p = onto_hyperplane(z, plane, norm, low=-1e9, high=1e9)
    expected = distance(plane, norm)
    found = lengths(p - z, norm)
    known = expected < 1e6  # else the far box is in the way after all
    torch.testing.assert_close(found[known], expected[known], rtol=1e-6, atol=1e-7)
    assert bool((expected.isinf() == (lengths(plane.normal, dual(norm)) == 0)).all())


@given(cases(), norms(*NORMS))
def test_the_shortest_move_ends_on_the_hyperplane(case: tuple[Tensor, Hyperplane], norm: float) -> None:
    z, plane = case
    move = shortest_move(plane, norm)
    expected = distance(plane, norm)
    known = expected.isfinite()
    torch.testing.assert_close(lengths(move, norm)[known], expected[known])
    assert not move[~known].any()
    scale = plane.value.abs() + 1e-12
    assert bool((left_over(z, plane, z + move).abs() <= 1e-4 * scale)[known].all())
    longer = lengths(shortest_move(plane, norm, extra=0.5), norm)[known & (plane.value != 0)]
    torch.testing.assert_close(longer, expected[known & (plane.value != 0)] + 0.5)


def by_linear_program(z: np.ndarray, value: float, normal: np.ndarray, norm: float) -> float:
    """The least distance in l1 or linf, by a solver that knows only the problem: p in the box, s >= |p - z|."""
    size = len(z)
    bounds_on = np.eye(size) if norm == 1 else np.ones((size, 1))
    above = np.block([[np.eye(size), -bounds_on], [-np.eye(size), -bounds_on]])
    solved = optimize.linprog(
        c=np.concatenate([np.zeros(size), np.ones(bounds_on.shape[1])]),
        A_ub=above,
        b_ub=np.concatenate([z, -z]),
        A_eq=np.concatenate([normal, np.zeros(bounds_on.shape[1])])[None],
        b_eq=[float(normal @ z) - value],
        bounds=[(0, 1)] * size + [(0, None)] * bounds_on.shape[1],
    )
    return math.inf if solved.fun is None else float(solved.fun)


def by_quadratic_program(z: np.ndarray, value: float, normal: np.ndarray) -> float:
    """The least distance in l2: for each multiplier the nearest point is a clipped step; the multiplier by brentq."""

    def step(t: float) -> np.ndarray:
        moved: np.ndarray = np.clip(z - t * value * normal, 0.0, 1.0) - z
        return moved

    def rest(t: float) -> float:
        return float(1.0 + normal @ step(t) / value)

    far = 1e6 / abs(value)
    return math.inf if rest(far) > 0 else float(np.linalg.norm(step(optimize.brentq(rest, 0.0, far, xtol=1e-14))))


@settings(max_examples=60)
@given(seeds(), st.integers(1, 7), st.floats(0.05, 1.2), norms(*NORMS))
def test_no_solver_finds_a_nearer_point(seed: int, size: int, share: float, norm: float) -> None:
    random = np.random.default_rng(seed)
    z, normal = random.random(size), random.standard_normal(size)
    normal[random.random(size) < 0.2] = 0.0
    value = share * 0.5 * float(np.abs(normal).sum())
    if value < 1e-3:
        return
    best = by_quadratic_program(z, value, normal) if norm == 2 else by_linear_program(z, value, normal, norm)
    plane = Hyperplane(torch.tensor([value], dtype=torch.float64), torch.from_numpy(normal)[None])
    point = torch.from_numpy(z)[None]
    found = onto_hyperplane(point, plane, norm)
    if math.isfinite(best):
        assert float(lengths(found - point, norm)) == pytest.approx(best, abs=1e-6)
    else:
        ends = (normal > 0) & (found[0].numpy() > 0) | (normal < 0) & (found[0].numpy() < 1)
        assert not ends.any()  # all that helps has been spent


@settings(max_examples=40)
@given(seeds(), st.integers(1, 6), st.floats(0.05, 0.9))
def test_no_choice_of_components_is_smaller(seed: int, size: int, share: float) -> None:
    """l0, against all choices: the fewest components whose better ends reach the hyperplane."""
    random = np.random.default_rng(seed)
    z, normal = random.random(size), random.standard_normal(size)
    reach = np.where(normal > 0, normal * z, normal * (z - 1.0))  # what a component can take off the value
    value = share * float(reach.sum())
    fewest = min(sum(chosen) for chosen in product((0, 1), repeat=size) if float(np.dot(chosen, reach)) >= value)
    plane = Hyperplane(torch.tensor([value], dtype=torch.float64), torch.from_numpy(normal)[None])
    point = torch.from_numpy(z)[None]
    found = onto_hyperplane(point, plane, 0.0)
    assert int((found != point).sum()) == fewest
    assert (
        float(
            left_over(
                point[..., None, None], Hyperplane(plane.value, plane.normal[..., None, None]), found[..., None, None]
            ).abs()
        )
        <= 1e-9
    )


def test_an_example_by_hand() -> None:
    z = torch.tensor([[0.5, 0.9, 0.2]])
    plane = Hyperplane(torch.tensor([-1.0]), torch.tensor([[1.0, 3.0, 1.0]]))  # p1 + 3 p2 + p3 = 4.4
    expected = {
        1.0: [[1.0, 1.0, 0.4]],  # 0.3 from the second, 0.5 from the first, 0.2 from the third
        2.0: [[0.85, 1.0, 0.55]],  # the second is at its end, the others share 0.7
        math.inf: [[0.85, 1.0, 0.55]],
    }
    for norm, p in expected.items():
        torch.testing.assert_close(onto_hyperplane(z, plane, norm), torch.tensor(p))


@given(norms(*NORMS))
def test_bad_normals_and_values_move_nothing(norm: float) -> None:
    z = torch.full((3, 1, 2, 2), 0.25)
    plane = Hyperplane(torch.tensor([1.0, torch.nan, torch.inf]), torch.zeros_like(z))
    assert torch.equal(onto_hyperplane(z, plane, norm), z)
    assert torch.equal(onto_hyperplane(z, Hyperplane(torch.full((3,), torch.nan), torch.ones_like(z)), norm), z)
    assert onto_hyperplane(z[:0], Hyperplane(torch.zeros(0), z[:0]), norm).shape == (0, 1, 2, 2)


@given(cases())
def test_a_hyperplane_told_from_elsewhere_is_the_same(case: tuple[Tensor, Hyperplane]) -> None:
    z, plane = case
    shift = 0.5 - z
    p = onto_hyperplane(z, plane, 2.0)
    torch.testing.assert_close(
        left_over(z + shift, plane.moved(shift), p), left_over(z, plane, p), rtol=1e-9, atol=1e-6
    )
