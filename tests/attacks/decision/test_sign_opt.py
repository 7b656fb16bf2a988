"""Sign-OPT: turns keep the norm's sphere, its examples approach the closed form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from advbench.attacks.decision.sign_opt import _TURNED, sign_opt
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.strategies import deltas, deltas_like, norms


@given(st.data(), deltas(), norms(2.0, math.inf), st.floats(0.001, 1.0))
def test_a_turned_direction_stays_in_the_unit_ball(data: st.DataObject, away: Tensor, norm: float, step: float) -> None:
    away = away.double()
    normal = data.draw(deltas_like(away))
    turned = _TURNED[norm](away, normal, torch.full((len(away),), step, dtype=torch.float64))
    assert bool(torch.isfinite(turned).all())
    assert bool((lengths(turned, norm) <= 1.0 + 1e-9).all())


def test_turns_by_hand() -> None:
    away, normal, step = torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, -1.0]]), torch.tensor([0.5])
    assert_close(_TURNED[math.inf](away, normal, step), torch.tensor([[0.75, 0.75]]))  # (0, 1) + 0.5 * (1.5, -0.5)
    right = torch.tensor([[4.0, 0.0]])
    assert_close(_TURNED[2.0](away, right, step), torch.tensor([[0.5, 1.0]]) / math.sqrt(1.25))


@pytest.mark.parametrize(("norm", "ratio"), [(2.0, 1.03), (math.inf, 1.15)])
def test_its_examples_approach_the_closed_form(norm: float, ratio: float) -> None:
    problem = linear_problem((3, 2, 3), 2, 6, 0)
    x_adv = sign_opt(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws, queries=2500)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((lengths(x_adv - problem.x, norm) <= ratio * problem.distance(norm)).all())


def test_by_hand() -> None:
    # Class 1 where the first pixel exceeds 0.75: from 0.25 the nearest example changes that pixel alone, by 0.5.
    model = Linear(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0.0, -0.75]))
    x, y = torch.tensor([[[[0.25, 0.6]]]]), torch.tensor([0])
    x_adv = sign_opt(model, x, y, ThreatModel(2, None), draws=Draws(0, torch.tensor([3])), queries=2000)
    assert_close(x_adv, torch.tensor([[[[0.75, 0.6]]]]), rtol=0.0, atol=0.05)
    assert float(lengths(x_adv - x, 2.0)) == pytest.approx(0.5, rel=5e-3)


def test_bad_parameters_are_refused() -> None:
    p, threat = linear_problem((1, 2, 2), 2, 2, 0), ThreatModel(2, None)
    with pytest.raises(ConfigError, match="directions"):
        sign_opt(p.model, p.x, p.y, threat, draws=p.draws, directions=0)
    with pytest.raises(ConfigError, match="alpha"):
        sign_opt(p.model, p.x, p.y, threat, draws=p.draws, alpha=0.0)
    with pytest.raises(ConfigError, match="beta"):
        sign_opt(p.model, p.x, p.y, threat, draws=p.draws, beta=0.0)
