"""brendel_bethge: along the boundary to the nearest point, from several starts."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attacks.minimum_norm.brendel_bethge import brendel_bethge
from advbench.attacks.minimum_norm.ddn import ddn
from advbench.core.losses import margin
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import norms, seeds, shapes

NORMS = (0.0, 1.0, 2.0, inf)


@settings(max_examples=20)
@given(shapes(largest=3), seeds(), norms(), st.booleans())
def test_two_classes_fall_at_the_nearest_point(
    shape: tuple[int, int, int], seed: int, norm: float, targeted: bool
) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    y = 1 - problem.y if targeted else problem.y
    options = {"draws": problem.draws, "targeted": targeted, "steps": 6, "starts": 1}
    x_adv = brendel_bethge(problem.model, problem.x, y, ThreatModel(norm, None), **options)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    found = lengths(x_adv.double() - problem.x.double(), norm)
    assert bool((found <= 1.002 * problem.distance(norm) + 1e-6).all())


@pytest.mark.parametrize("norm", NORMS)
def test_more_starts_only_bring_nearer_examples(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    threat = ThreatModel(norm, None)
    # With the same number of steps for each search.
    once = brendel_bethge(model, x, y, threat, draws=draws, steps=30, starts=1)
    passes = Counting(model, 12)
    thrice = brendel_bethge(passes, x, y, threat, draws=draws, steps=90, starts=3)
    assert bool((lengths(thrice - x, norm) <= lengths(once - x, norm) * (1 + 1e-3)).all())
    assert bool((model(thrice).argmax(1) != y).all())
    assert int(passes.passes.max()) <= 1 + 3 * (51 + 10 + 30 + 20) + 10


def test_on_a_curved_boundary_it_is_as_near_as_ddn() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    threat = ThreatModel(2, None)
    ours = lengths(brendel_bethge(model, x, y, threat, draws=draws, steps=150) - x, 2)
    theirs = lengths(ddn(model, x, y, threat, draws=draws, steps=300) - x, 2)
    assert float(ours.median()) <= 1.01 * float(theirs.median())
    assert float(ours.mean()) <= 1.01 * float(theirs.mean())


@pytest.mark.parametrize("norm", NORMS)
def test_a_radius_ends_the_search_of_the_samples_that_are_near_enough(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    anywhere, within = Counting(model, 12), Counting(model, 12)
    distance = lengths(brendel_bethge(anywhere, x, y, ThreatModel(norm, None), draws=draws, steps=60) - x, norm)
    threat = ThreatModel(norm, float(1.001 * distance.median()))
    fooled = model(brendel_bethge(within, x, y, threat, draws=draws, steps=60)).argmax(1) != y
    assert bool(fooled[distance <= threat.radius].all())
    assert int(within.passes[fooled].sum()) < int(anywhere.passes[fooled].sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"starts": 0}, "starts must be at least 1"),
        ({"radius": 0.0}, "radius must be positive"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        brendel_bethge(model, x, y, ThreatModel(2, None), draws=draws, **options)


@pytest.mark.parametrize("norm", [1.0, 2.0, inf])
def test_examples_are_firmly_beyond_the_boundary(norm: float) -> None:
    """In another batch logits round differently, by some 1e-7 of their size: an example must not depend on that."""
    model = conv_net()
    x, y, draws = images(model, 16)
    x_adv = brendel_bethge(model, x, y, ThreatModel(norm, None), draws=draws, steps=300)
    with torch.no_grad():
        share = margin(model(x_adv), y) / margin(model(x), y)
    assert bool((share < -5e-6).all()), share
