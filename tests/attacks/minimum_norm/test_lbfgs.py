"""lbfgs: the nearest point of a plane, with components at the edges of the box, and a line search per sample."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from advbench.attacks.minimum_norm.carlini_wagner import carlini_wagner
from advbench.attacks.minimum_norm.lbfgs import lbfgs
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

L2 = ThreatModel(2, None)


@settings(max_examples=15)
@given(shapes(largest=3), seeds(), st.booleans())
def test_two_classes_fall_at_the_nearest_point(shape: tuple[int, int, int], seed: int, targeted: bool) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    y = 1 - problem.y if targeted else problem.y
    x_adv = lbfgs(problem.model, problem.x, y, L2, draws=problem.draws, targeted=targeted, steps=10, searches=4)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    found = lengths(x_adv.double() - problem.x.double(), 2)
    assert bool((found <= 1.002 * problem.distance(2) + 1e-6).all())


@settings(max_examples=5)
@given(seeds())
def test_at_the_edges_of_the_box_it_is_the_answer_of_quadratic_programming(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    slope = torch.randn(8, generator=generator, dtype=torch.float64)
    x = torch.rand(8, generator=generator, dtype=torch.float64).round()  # black and white: half of the ways are blocked
    room = torch.where(slope > 0, 1.0 - x, -x)
    offset = float(slope @ x + 0.4 * (slope * room).sum())
    model = Linear(torch.stack([torch.zeros(8), slope]), torch.tensor([offset, 0.0]))
    image, draws = x.reshape(1, 1, 2, 4), images(conv_net(), 1)[2]
    x_adv = lbfgs(model, image, torch.tensor([0]), L2, draws=draws, steps=40)
    best = minimize(
        lambda z: ((z - x.numpy()) ** 2).sum(),
        (x + 0.5 * room).numpy(),
        jac=lambda z: 2 * (z - x.numpy()),
        bounds=[(0, 1)] * 8,
        constraints={"type": "ineq", "fun": lambda z: slope.numpy() @ z - offset, "jac": lambda z: slope.numpy()},
        method="SLSQP",
    )
    assert int(model(x_adv).argmax(1)) == 1
    assert float(lengths(x_adv - image, 2)) == pytest.approx(best.fun**0.5, rel=5e-3)


@pytest.mark.slow
def test_with_a_third_of_the_passes_it_comes_about_as_near_as_adam() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    passes = Counting(model, 12)
    ours = lengths(lbfgs(passes, x, y, L2, draws=draws) - x, 2)
    theirs = lengths(carlini_wagner(model, x, y, L2, draws=draws, steps=300) - x, 2)
    assert float(ours.median()) <= 1.05 * float(theirs.median())
    assert int(passes.passes.max()) <= 901 + 30


def test_a_radius_ends_the_search_of_the_samples_that_are_near_enough() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    anywhere, within = Counting(model, 12), Counting(model, 12)
    distance = lengths(lbfgs(anywhere, x, y, L2, draws=draws, steps=30, searches=5) - x, 2)
    threat = ThreatModel(2, float(1.001 * distance.median()))
    fooled = model(lbfgs(within, x, y, threat, draws=draws, steps=30, searches=5)).argmax(1) != y
    assert torch.equal(fooled, distance <= threat.radius)
    assert int(within.passes[fooled].sum()) < int(anywhere.passes[fooled].sum())


@pytest.mark.parametrize("name", ["steps", "searches", "memory"])
def test_impossible_settings_are_refused(name: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, got 0"):
        lbfgs(model, x, y, L2, draws=draws, **{name: 0})
