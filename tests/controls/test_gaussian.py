"""gaussian: the right variance, never outside of the ball, the right share of label changes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.controls.gaussian import gaussian
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.oracles import agrees_with, copies, shortened_gaussian_share
from tests.strategies import seeds


@settings(max_examples=8)
@given(st.sampled_from(((2, 2, 2), (3, 4, 4))), seeds(), st.floats(0.15, 0.8))
def test_share_of_label_changes_is_that_of_shortened_gaussian_noise(
    shape: tuple[int, int, int], seed: int, ratio: float
) -> None:
    problem = copies(linear_problem(shape, 2, 1, seed), 3000)
    distance = float(problem.distance(2.0)[0])
    eps = distance / ratio
    if eps > 0.4:
        return  # the box would cut the ball
    moved = gaussian(problem.model, problem.x, problem.y, ThreatModel(2, eps), draws=problem.draws, tries=1)
    share = shortened_gaussian_share(problem.x[0].numel(), eps, distance)
    assert agrees_with(share, problem.model(moved).argmax(1) != problem.y)


def test_lengths_gather_just_below_eps() -> None:
    """For D = 3072, standard deviation eps / sqrt(2 D) = 1.3 % of eps; half of the draws are cut to eps."""
    problem = linear_problem((3, 32, 32), 2, 1, 0)
    x, y, draws = problem.x.expand(200, 3, 32, 32), problem.y.expand(200), Draws(0, torch.arange(200))
    length = lengths(gaussian(problem.model, x, y, ThreatModel(2, 1.0), draws=draws, tries=1) - x, 2)
    assert float(length.max()) <= 1.0 + 1e-5
    assert 0.35 < float((length > 0.9999).double().mean()) < 0.65
    assert float(length.min()) > 0.93


def test_without_a_radius_it_is_refused() -> None:
    problem = linear_problem((1, 2, 2), 2, 1, 0)
    with pytest.raises(ConfigError, match="needs a radius"):
        gaussian(problem.model, problem.x, problem.y, ThreatModel(2, None), draws=problem.draws)
