"""step_towards: within the radius and the box, and as near to x as a solver of quadratic programs finds."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from advbench.core.hyperplanes import Hyperplane, onto_hyperplane
from advbench.core.norms import lengths
from advbench.core.trust_region import step_towards
from advbench.types import ThreatModel
from tests.strategies import norms, seeds


def problem(seed: int, size: int) -> tuple[Tensor, Tensor, Hyperplane]:
    """x, z (4, 1, 1, size) and a plane on whose far side z lies, for half of the samples by a hair."""
    generator = torch.Generator().manual_seed(seed)
    x, z = torch.rand(2, 4, 1, 1, size, generator=generator, dtype=torch.float64)
    normal = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    value = -torch.rand(4, generator=generator, dtype=torch.float64) * torch.tensor([1e-3, 0.5, 1e-3, 0.5])
    return x, z, Hyperplane(value, normal)


@given(seeds(), st.integers(1, 8), norms(), st.floats(1e-3, 2.0))
def test_a_step_stays_in_the_radius_the_box_and_beyond_the_boundary(
    seed: int, size: int, norm: float, radius: float
) -> None:
    x, z, plane = problem(seed, size)
    there = step_towards(x, z, plane, ThreatModel(norm, None), torch.full((4,), radius, dtype=torch.float64))
    assert bool(((there >= 0) & (there <= 1)).all())
    assert bool((lengths(there - z, 2) <= radius * (1 + 1e-9)).all())
    assert bool((plane.moved(there - z).value <= 1e-3).all())
    assert bool((lengths(there - x, norm) <= 1.001 * lengths(z - x, norm) + 1e-3).all())


@given(seeds(), st.integers(1, 8), norms(1.0, 2.0, inf))
def test_without_a_limit_it_is_the_nearest_point_of_the_plane(seed: int, size: int, norm: float) -> None:
    x, z, plane = problem(seed, size)
    there = step_towards(x, z, plane, ThreatModel(norm, None), torch.full((4,), 100.0, dtype=torch.float64))
    from_x = plane.moved(x - z)
    nearest = torch.where((from_x.value > 0).reshape(-1, 1, 1, 1), onto_hyperplane(x, from_x, norm), x)
    # tau ends a little below 1: a fiftieth of the way is left.
    assert bool((lengths(there - x, norm) <= lengths(nearest - x, norm) + 0.05 * lengths(z - x, norm) + 1e-4).all())


@settings(max_examples=15)
@given(seeds(), st.floats(0.05, 0.5))
def test_in_l2_it_is_the_answer_of_a_solver(seed: int, radius: float) -> None:
    x, z, plane = problem(seed, 6)
    there = step_towards(x, z, plane, ThreatModel(2, None), torch.full((4,), radius, dtype=torch.float64))
    for i in range(4):
        goal, start, slope = (part[i].flatten().numpy() for part in (x, z, plane.normal))
        value = float(plane.value[i])
        best = minimize(
            lambda p, goal=goal: ((p - goal) ** 2).sum(),
            start,
            jac=lambda p, goal=goal: 2 * (p - goal),
            bounds=[(0, 1)] * 6,
            constraints=[
                {"type": "ineq", "fun": lambda p, s=start, n=slope, v=value: -(v + n @ (p - s))},
                {"type": "ineq", "fun": lambda p, s=start: radius**2 - ((p - s) ** 2).sum()},
            ],
            method="SLSQP",
            options={"maxiter": 300},
        )
        assert best.success
        assert float(lengths(there[i] - x[i], 2).norm()) <= best.fun**0.5 + 0.03 * radius


def test_by_hand() -> None:
    # From (0.9, 0.5) towards (0.1, 0.5), along the plane z_2 = 0.5: a quarter of the way is allowed.
    x, z = torch.tensor([[0.1, 0.5]]), torch.tensor([[0.9, 0.5]])
    plane = Hyperplane(torch.zeros(1), torch.tensor([[0.0, 1.0]]))
    for norm in (1.0, 2.0, inf):
        there = step_towards(x, z, plane, ThreatModel(norm, None), torch.tensor([0.2]))
        assert there[0].tolist() == pytest.approx([0.7, 0.5], abs=5e-3)
    # In l0 a component goes back as a whole or not at all.
    near, far = (step_towards(x, z, plane, ThreatModel(0, None), torch.tensor([r])) for r in (0.7, 0.9))
    assert (near[0].tolist(), far[0].tolist()) == (z[0].tolist(), x[0].tolist())
    # The boundary is 0.4 below and the radius 0.3: straight towards it.
    beyond = Hyperplane(torch.tensor([0.4]), torch.tensor([[0.0, 1.0]]))
    there = step_towards(x, z, beyond, ThreatModel(2, None), torch.tensor([0.3]))
    assert there[0].tolist() == pytest.approx([0.9, 0.2], abs=1e-3)


@given(norms())
def test_without_a_normal_nothing_moves(norm: float) -> None:
    x, z = torch.zeros(2, 3), torch.ones(2, 3)
    flat = Hyperplane(torch.tensor([0.5, inf]), torch.zeros(2, 3))
    assert torch.equal(step_towards(x, z, flat, ThreatModel(norm, None), torch.ones(2)), z)
