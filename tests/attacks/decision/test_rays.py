"""RayS: on few components its search ends at the best of all sign vectors; its blocks cover each component once."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from advbench.attacks.decision.rays import Rays, _after, _turned, rays
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.strategies import seeds


@given(st.integers(1, 40), seeds())
def test_the_blocks_of_every_level_turn_each_component_round_once(size: int, seed: int) -> None:
    signs = torch.where(torch.rand(1, size, generator=torch.Generator().manual_seed(seed)) < 0.5, -1.0, 1.0)
    zero, one = torch.zeros(1, dtype=torch.int64), torch.ones(1)
    trial = Rays(signs, one, zero, zero, math.inf * one, 0.0 * one)
    covered = torch.zeros(12, size)
    for _ in range(4 * size):
        covered[int(trial.level)] += (_turned(trial) != signs)[0]
        trial = _after(trial, _turned(trial), one, torch.tensor([False]), 1e-3)  # never adversarial: only blocks move
        if int(trial.level) == (size - 1).bit_length():
            break
    assert bool((covered[: int(trial.level)] == 1.0).all())


def best_corner(model: Linear, x: Tensor, y: Tensor) -> Tensor:
    """The least radius (B,) over all rays to corners at which one meets the hyperplane of two classes."""
    slope, size = (model.weight[1 - y] - model.weight[y]), x[0].numel()
    gap = model.exact(x).gather(1, y[:, None])[:, 0] - model.exact(x).gather(1, 1 - y[:, None])[:, 0]
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=size)), dtype=torch.float64)
    speed = slope @ corners.T  # (B, 2**D)
    return torch.where(speed > 0, gap[:, None] / speed, math.inf).amin(1)


@settings(max_examples=8)
@given(seeds())
def test_its_search_ends_at_the_best_of_all_sign_vectors(seed: int) -> None:
    problem = linear_problem((1, 2, 3), 2, 3, seed)
    x_adv = rays(problem.model, problem.x, problem.y, ThreatModel(math.inf, None), draws=problem.draws, queries=400)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    expected = best_corner(problem.model, problem.x, problem.y)
    assert_close(lengths((x_adv - problem.x).double(), math.inf), expected, rtol=4e-3, atol=1e-6)


def test_by_hand() -> None:
    # Class 1 where a - b > 0.4. From (0.5, 0.5) the best ray is (1, -1): both pixels move by 0.2.
    model = Linear(torch.tensor([[0.0, 0.0], [1.0, -1.0]]), torch.tensor([0.0, -0.4]))
    x = torch.full((1, 1, 1, 2), 0.5)
    x_adv = rays(
        model, x, torch.tensor([0]), ThreatModel(math.inf, None), draws=Draws(0, torch.tensor([0])), queries=100
    )
    assert_close(x_adv, torch.tensor([[[[0.7, 0.3]]]]), rtol=0.0, atol=1e-3)


def test_bad_parameters_are_refused() -> None:
    p = linear_problem((1, 2, 2), 2, 2, 0)
    with pytest.raises(ConfigError, match="tolerance"):
        rays(p.model, p.x, p.y, ThreatModel(math.inf, None), draws=p.draws, tolerance=0.0)
