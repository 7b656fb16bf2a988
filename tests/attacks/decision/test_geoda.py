"""GeoDA: its probes are low frequencies of the image, its examples approach the closed form in three norms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from advbench.attacks.decision.geoda import _cosines, _onto_boundary, _view, geoda
from advbench.attacks.decision.inquiry import Inquiry
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.strategies import norms, seeds


@given(st.integers(1, 40), st.floats(0.05, 1.0))
def test_the_cosines_are_orthonormal(side: int, part: float) -> None:
    basis = _cosines(side, part, torch.zeros(1, dtype=torch.float64))
    assert basis.shape == (side, min(side, max(round(part * side), 8)))
    assert_close(basis.T @ basis, torch.eye(basis.shape[1], dtype=torch.float64))


def test_probes_hold_low_frequencies_only() -> None:
    z = torch.full((2, 3, 30, 24), 0.5, dtype=torch.float64)
    bases = [_cosines(side, 1 / 3, z) for side in (30, 24)]
    view = _view(z, z - 0.1, bases, Draws(0, torch.arange(2)), ThreatModel(2, None))
    u, near = view(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    assert_close(lengths(u, 2.0), torch.ones(3, dtype=torch.float64))
    frequencies = _cosines(30, 1.0, z).T @ u @ _cosines(24, 1.0, z)
    assert float(frequencies[..., 10:, :].abs().max()) < 1e-12
    assert float(frequencies[..., 8:].abs().max()) < 1e-12
    assert_close((near - z[:1]) / lengths(near - z[:1], 2.0)[:, None, None, None], u)
    assert float((u[1] - u[2]).abs().max()) > 1e-3


@given(seeds(), norms(1.0, 2.0, math.inf))
def test_the_true_normal_leads_to_the_nearest_example_at_once(seed: int, norm: float) -> None:
    problem = linear_problem((1, 2, 3), 2, 3, seed)
    x, y, rows = problem.x.double(), problem.y, torch.arange(3)
    inquiry = Inquiry(problem.model, x, y, ThreatModel(norm, None), targeted=False, queries=60)
    normal = (problem.model.weight[1 - y] - problem.model.weight[y]).detach().reshape(x.shape)
    gap = (problem.model.exact(x).gather(1, y[:, None]) - problem.model.exact(x).gather(1, 1 - y[:, None]))[:, 0]
    foot = x + (gap / normal.square().flatten(1).sum(1))[:, None, None, None].detach() * normal
    z, met = _onto_boundary(inquiry, foot, normal / lengths(normal, 2.0)[:, None, None, None], rows)
    assert_close(lengths(z - x, norm), problem.distance(norm), rtol=2e-4, atol=1e-9)
    assert bool(met.all())
    assert bool(inquiry.kept.reached.all())


# In l1 the two steepest components are easily confused: the price is the ratio of their slopes.
@pytest.mark.parametrize(("norm", "ratio"), [(1.0, 1.15), (2.0, 1.04), (math.inf, 1.04)])
def test_its_examples_approach_the_closed_form(norm: float, ratio: float) -> None:
    problem = linear_problem((3, 2, 3), 2, 6, 0)
    x_adv = geoda(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws, queries=1500)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((lengths(x_adv - problem.x, norm) <= ratio * problem.distance(norm)).all())


def test_by_hand() -> None:
    # Class 1 where 2 a + b > 1.5: from (0.25, 0.25) the l1 way changes the first pixel by 0.375.
    model = Linear(torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([0.0, -1.5]))
    x, y = torch.full((1, 1, 1, 2), 0.25), torch.tensor([0])
    x_adv = geoda(model, x, y, ThreatModel(1, None), draws=Draws(0, torch.tensor([3])), queries=400)
    assert_close(x_adv, torch.tensor([[[[0.625, 0.25]]]]), rtol=0.0, atol=1e-3)


def test_bad_parameters_are_refused() -> None:
    p, threat = linear_problem((1, 2, 2), 2, 2, 0), ThreatModel(2, None)
    with pytest.raises(ConfigError, match="turns"):
        geoda(p.model, p.x, p.y, threat, draws=p.draws, turns=0)
    with pytest.raises(ConfigError, match="decay"):
        geoda(p.model, p.x, p.y, threat, draws=p.draws, decay=0.0)
    with pytest.raises(ConfigError, match="frequencies"):
        geoda(p.model, p.x, p.y, threat, draws=p.draws, frequencies=0.0)
