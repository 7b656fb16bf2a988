"""random_sign: all components by the same amount, the signs fair."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.controls.random_sign import random_sign
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.oracles import agrees_with, copies, corner_share, normal_of
from tests.strategies import seeds


@settings(max_examples=10)
@given(seeds(), st.floats(0.2, 0.9))
def test_share_of_label_changes_is_that_of_the_corners(seed: int, ratio: float) -> None:
    problem = copies(linear_problem((1, 2, 5), 2, 1, seed), 3000)
    eps = min(float(problem.distance(inf)[0]) / ratio, 0.39)
    logits = problem.model.exact(problem.x[:1])[0].detach()
    gap = float(logits[problem.y[0]] - logits[1 - problem.y[0]])
    moved = random_sign(problem.model, problem.x, problem.y, ThreatModel(inf, eps), draws=problem.draws, tries=1)
    assert agrees_with(corner_share(normal_of(problem), gap / eps), problem.model(moved).argmax(1) != problem.y)


@pytest.mark.parametrize("norm", [1.0, 2.0, inf])
def test_all_components_move_equally_far_and_eps_in_all(norm: float) -> None:
    problem = linear_problem((3, 4, 4), 3, 8, 0)
    moved = random_sign(problem.model, problem.x, problem.y, ThreatModel(norm, 0.3), draws=problem.draws, tries=2)
    delta = (moved - problem.x).flatten(1)
    assert lengths(delta, norm).tolist() == pytest.approx([0.3] * 8, rel=1e-4)
    assert float(delta.abs().amax()) == pytest.approx(float(delta.abs().amin()), rel=1e-4)
    assert bool((delta > 0).any())
    assert bool((delta < 0).any())


def test_rescaling_meets_the_length_on_black_images() -> None:
    problem = linear_problem((3, 4, 4), 2, 4, 0)
    x = torch.zeros_like(problem.x)
    short, full = (
        random_sign(problem.model, x, problem.y, ThreatModel(1, 2.0), draws=problem.draws, tries=1, rescale=rescale)
        for rescale in (False, True)
    )
    assert bool((lengths(short - x, 1) < 1.9).all())
    assert lengths(full - x, 1).tolist() == pytest.approx([2.0] * 4, rel=1e-5)


def test_without_a_radius_it_is_refused() -> None:
    problem = linear_problem((1, 2, 2), 2, 1, 0)
    with pytest.raises(ConfigError, match="needs a radius"):
        random_sign(problem.model, problem.x, problem.y, ThreatModel(inf, None), draws=problem.draws)
