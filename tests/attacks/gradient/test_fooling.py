"""fooling: any image to any class by short normalised steps, until fooled and no further."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attacks.gradient.fooling import fooling
from advbench.core.losses import margin
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

FREE = ThreatModel(2, None)


@settings(max_examples=20)
@given(shapes(largest=4), seeds(), st.floats(0.005, 0.05), st.booleans())
def test_with_two_classes_it_stops_within_a_step_of_the_boundary(
    shape: tuple[int, int, int], seed: int, step_size: float, targeted: bool
) -> None:
    """The scores are w x and -w x, so that either score's gradient is the direction to the boundary."""
    problem = linear_problem(shape, 2, 4, seed)
    with torch.no_grad():
        problem.model.weight[1], problem.model.bias[1] = -problem.model.weight[0], -problem.model.bias[0]
    y = problem.model(problem.x).argmax(1)
    optimum = problem.model.distance(problem.x, y, 2.0)
    goal = 1 - y if targeted else y
    found = fooling(problem.model, problem.x, goal, FREE, draws=problem.draws, targeted=targeted, step_size=step_size)
    assert torch.equal(problem.model(found).argmax(1), 1 - y)
    distance = lengths(found.double() - problem.x.double(), 2.0)
    assert bool((distance >= optimum * (1 - 1e-4) - 1e-6).all())
    assert bool((distance <= optimum + step_size * (1 + 1e-4) + 1e-6).all())


def test_images_reach_every_class_and_are_left_alone_there() -> None:
    """Nearly all: raising the score of a class may raise another's as well."""
    model = conv_net()
    x, y, draws = images(model, 24)
    for shift in (1, 2, 3):
        goal = (y + shift) % 4
        watched = Counting(model, len(x))
        found = fooling(watched, x, goal, FREE, draws=draws, targeted=True, step_size=0.05)
        assert float((model(found).argmax(1) == goal).double().mean()) >= 0.9
        steps = watched.passes - 1  # one look at the start
        assert bool((lengths(found - x, 2.0) <= 0.05 * steps + 1e-5).all())
        assert len(set(steps.tolist())) > 1


def test_an_image_of_the_class_already_is_returned_as_it_is() -> None:
    model = conv_net()
    x, y, draws = images(model, 6)
    assert torch.equal(fooling(model, x, y, FREE, draws=draws, targeted=True), x)
    assert torch.equal(fooling(model, x, (y + 1) % 4, FREE, draws=draws), x)


@pytest.mark.parametrize("targeted", [False, True])
def test_confidence_is_the_lead_in_logits(targeted: bool) -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    goal = (y + 1) % 4 if targeted else y
    sign = 1.0 if targeted else -1.0
    plain = fooling(model, x, goal, FREE, draws=draws, targeted=targeted, step_size=0.02, steps=300)
    sure = fooling(model, x, goal, FREE, draws=draws, targeted=targeted, step_size=0.02, steps=300, confidence=1.0)
    lead, wanted = sign * margin(model(plain), goal), sign * margin(model(sure), goal)
    fooled = lead > 0.0
    assert bool((lead[fooled] < 1.0).any())
    assert float(fooled.double().mean()) > 0.8
    assert bool((wanted[fooled] >= 1.0).all())


def test_a_radius_bounds_it() -> None:
    model = conv_net()
    x, y, draws = images(model, 6)
    found = fooling(model, x, y, ThreatModel(inf, 0.01), draws=draws)
    assert float((found - x).abs().max()) <= 0.01 + 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"confidence": -1.0}, "confidence must not be negative"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        fooling(model, x, y, FREE, draws=draws, **options)
