"""The boundary attack: its candidates lie where the paper says, its step sizes follow each sample's own successes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.decision.boundary import Walk, _across, _adapted, _step, boundary
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.probing import random_unit
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.strategies import deltas, seeds


@given(deltas(), seeds())
def test_a_step_across_is_orthogonal_and_as_long(away: Tensor, seed: int) -> None:
    away = away.double()
    across = _across(random_unit(Draws(seed, torch.arange(len(away))), away, "walk", 0), away)
    possible = away[0].numel() > 1
    length, expected = lengths(across, 2.0), lengths(away, 2.0)
    assert bool(torch.isfinite(across).all())
    if possible:
        assert_close(length, expected, rtol=1e-6, atol=1e-12)
        dot = (across * away).flatten(1).sum(1)
        assert_close(dot / (length * expected).clamp_min(1e-300), torch.zeros_like(dot), rtol=0.0, atol=1e-6)


class Recording(nn.Module):
    """Class 1 for every image but grey; remembers what it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x)
        return torch.stack([torch.full_like(x[:, 0, 0, 0], 1e-6), lengths(x - 0.5, 2.0)], 1)


@given(seeds())
def test_candidates_lie_on_the_sphere_and_a_step_nearer(seed: int) -> None:
    x, model = torch.full((1, 1, 5, 5), 0.5, dtype=torch.float64), Recording()
    inquiry = Inquiry(model, x, torch.tensor([0]), ThreatModel(2, None), targeted=False, queries=60)
    rows, draws = torch.tensor([0]), Draws(seed, torch.tensor([seed]))
    inquiry.look(x + 0.2 * draws.uniform((1, 5, 5), "start"), rows)
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.int64)
    before = lengths(inquiry.kept.z - x, 2.0)
    walk = _step(inquiry, Walk(0.3 * one, 0.01 * one, none, none), rows, draws, 0)
    start, turned, nearer = model.asked
    assert_close(lengths(turned - x, 2.0), before, rtol=1e-6, atol=0.0)
    assert_close(lengths(nearer - x, 2.0), 0.99 * before, rtol=1e-6, atol=0.0)
    cosine = ((turned - x) * (start - x)).sum() / before.square()
    assert_close(cosine, 1.0 / (1.0 + 0.3 * 0.3 * one).sqrt(), rtol=1e-6, atol=0.0)
    assert walk.hits.tolist() == [[1, 1]]
    assert torch.equal(inquiry.kept.z, nearer)


def test_step_sizes_by_hand() -> None:
    ones = torch.ones(4)
    walk = Walk(0.1 * ones, 0.1 * ones, torch.tensor([[6, 1], [1, 0], [3, 3], [9, 9]]), torch.full((4, 2), 10))
    walk.asked[3] = 9  # too few answers to judge
    new = _adapted(walk, 1.5)
    assert_close(new.spherical, torch.tensor([0.15, 0.1 / 1.5, 0.1, 0.1]))
    assert_close(new.source, torch.tensor([0.15, 0.1 / 1.5 / 1.5, 0.15, 0.1]))
    assert new.asked[:, 0].tolist() == [0, 0, 0, 9]


def test_its_examples_approach_the_closed_form() -> None:
    problem = linear_problem((1, 3, 3), 2, 6, 0)
    x_adv = boundary(problem.model, problem.x, problem.y, ThreatModel(2, None), draws=problem.draws, queries=1500)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((lengths(x_adv - problem.x, 2.0) <= 1.05 * problem.distance(2.0)).all())


def test_bad_parameters_are_refused() -> None:
    p, threat = linear_problem((1, 2, 2), 2, 2, 0), ThreatModel(2, None)
    with pytest.raises(ConfigError, match="spherical_step"):
        boundary(p.model, p.x, p.y, threat, draws=p.draws, spherical_step=0.0)
    with pytest.raises(ConfigError, match="source_step"):
        boundary(p.model, p.x, p.y, threat, draws=p.draws, source_step=-1.0)
    with pytest.raises(ConfigError, match="step_adaptation"):
        boundary(p.model, p.x, p.y, threat, draws=p.draws, step_adaptation=0.5)
