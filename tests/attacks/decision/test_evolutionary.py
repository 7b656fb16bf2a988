"""The evolutionary attack: its steps are drawn as its variances say, successes shape them, the pull follows a rule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from advbench.attacks.decision.evolutionary import Rates, Strategy, _learned, _move, evolutionary
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.strategies import seeds


def fresh(count: int, shape: tuple[int, ...] = (1, 4, 5)) -> Strategy:
    ones = torch.ones(count)
    return Strategy(torch.zeros(count, *shape), torch.ones(count, *shape), 0.01 * ones, 0.2 * ones)


@given(seeds(), st.floats(0.01, 1.0))
def test_a_step_moves_its_share_of_the_components(seed: int, share: float) -> None:
    move = _move(fresh(3), share, Draws(seed, torch.arange(3)), 0)
    assert (move != 0).flatten(1).sum(1).tolist() == [max(1, round(share * 20))] * 3


def test_components_are_chosen_and_stretched_by_their_variance() -> None:
    state = fresh(4000, (1, 1, 2))
    state.variance[:, 0, 0, 1] = 9.0
    move = _move(state, 0.5, Draws(0, torch.arange(4000)), 0)[:, 0, 0]  # one of two components
    second = move[:, 1] != 0
    assert float(second.float().mean()) == pytest.approx(0.9, abs=4.0 * math.sqrt(0.9 * 0.1 / 4000))
    assert float(move[second, 1].std()) == pytest.approx(3.0, rel=0.05)
    assert float(move[~second, 0].std()) == pytest.approx(1.0, rel=0.15)


def test_only_success_teaches_the_variances() -> None:
    move = torch.tensor([[[[2.0, 0.0]]], [[[2.0, 0.0]]]])
    new = _learned(fresh(2, (1, 1, 2)), move, torch.tensor([True, False]), Rates(0.5, 0.25))
    path = math.sqrt(0.5 * 1.5) * 2.0  # of the first component
    assert_close(new.path[0], torch.tensor([[[path, 0.0]]]))
    assert_close(new.variance[0], torch.tensor([[[0.75 + 0.25 * 3.0, 0.75]]]))
    assert float(new.path[1].abs().max()) == 0.0
    assert float((new.variance[1] - 1.0).abs().max()) == 0.0
    assert float(new.pull[0]) > 0.01 > float(new.pull[1])


def test_the_pull_rests_at_one_success_in_five() -> None:
    state, move = fresh(1), torch.zeros(1, 1, 4, 5)
    for step in range(1000):
        state = _learned(state, move, torch.tensor([step % 5 == 0]), Rates(0.01, 0.001))
    assert float(state.success) == pytest.approx(0.2, abs=0.02)
    assert float(state.pull) == pytest.approx(0.01, rel=0.15)


def test_its_examples_approach_the_closed_form() -> None:
    problem = linear_problem((1, 3, 3), 2, 6, 0)
    x_adv = evolutionary(problem.model, problem.x, problem.y, ThreatModel(2, None), draws=problem.draws, queries=600)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((lengths(x_adv - problem.x, 2.0) <= 1.3 * problem.distance(2.0)).all())


@pytest.mark.parametrize("side", [8, 64])
def test_whatever_it_asks_about_is_nearer_than_the_example_it_has(side: int) -> None:
    """A random step of fixed size per component is longer than the distance itself on large images."""
    asked: list[torch.Tensor] = []

    class Heard(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            asked.append(z - x)
            bright = (z - 0.5).flatten(1).mean(1)
            return torch.stack([-bright, bright], 1)

    x = torch.full((1, 3, side, side), 0.3)
    draws = Draws(0, torch.arange(1))
    starts = 0.4 + 0.5 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    threat = ThreatModel(2, None)
    evolutionary(Heard(), x, torch.zeros(1, dtype=torch.int64), threat, draws=draws, queries=80, starts=starts)
    reached = [bool((delta + x).mean() > 0.5) for delta in asked]
    length = [float(delta.norm()) for delta in asked]
    begun = 20  # x, the start, and its way to the boundary
    for turn in range(begun, 80):
        best = min(far for far, hit in zip(length[:turn], reached, strict=False) if hit)
        assert length[turn] < 1.0001 * best  # on the boundary itself rounding decides which side a point is on
    assert any(reached[begun:])


def test_bad_parameters_are_refused() -> None:
    p, threat = linear_problem((1, 2, 2), 2, 2, 0), ThreatModel(2, None)
    with pytest.raises(ConfigError, match="sigma"):
        evolutionary(p.model, p.x, p.y, threat, draws=p.draws, sigma=0.0)
    with pytest.raises(ConfigError, match="pull"):
        evolutionary(p.model, p.x, p.y, threat, draws=p.draws, pull=0.0)
    with pytest.raises(ConfigError, match="chosen"):
        evolutionary(p.model, p.x, p.y, threat, draws=p.draws, chosen=0.0)
    with pytest.raises(ConfigError, match="resolution"):
        evolutionary(p.model, p.x, p.y, threat, draws=p.draws, resolution=1.5)
    with pytest.raises(ConfigError, match="path_rate"):
        evolutionary(p.model, p.x, p.y, threat, draws=p.draws, path_rate=-0.1)
