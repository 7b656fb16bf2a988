"""carlini_wagner: as near as the closed form allows in l2, linf and l0, whatever the pixel values at the start."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attacks.minimum_norm.carlini_wagner import carlini_wagner
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

SHORT = {"steps": 10, "searches": 4, "step_size": 0.1}
NORMS = (0.0, 2.0, inf)


@pytest.mark.slow
@settings(max_examples=10)
@given(shapes(largest=3), seeds(), st.sampled_from(NORMS), st.booleans())
def test_two_classes_fall_within_five_percent_of_the_nearest(
    shape: tuple[int, int, int], seed: int, norm: float, targeted: bool
) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    y = 1 - problem.y if targeted else problem.y
    threat = ThreatModel(norm, None)
    x_adv = carlini_wagner(problem.model, problem.x, y, threat, draws=problem.draws, targeted=targeted, **SHORT)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    found, nearest = lengths(x_adv.double() - problem.x.double(), norm), problem.distance(norm)
    assert bool((found <= 1.05 * nearest + 1e-6).all()), (found / nearest).tolist()
    assert bool((found >= nearest * (1 - 1e-4)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_a_radius_ends_the_search_of_the_samples_that_are_near_enough(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    anywhere = carlini_wagner(model, x, y, ThreatModel(norm, None), draws=draws, **SHORT)
    distance = lengths(anywhere - x, norm)
    threat = ThreatModel(norm, float(distance.median()))
    without, within = Counting(model, len(x)), Counting(model, len(x))
    carlini_wagner(without, x, y, threat.at(None), draws=draws, **SHORT)
    x_adv = carlini_wagner(within, x, y, threat, draws=draws, **SHORT)
    fooled = model(x_adv).argmax(1) != y
    assert torch.equal(fooled, distance <= threat.radius)
    assert bool((within.passes[fooled] <= without.passes[fooled]).all())
    assert norm == 0 or int(within.passes.sum()) < int(without.passes.sum())  # l0: one change cannot be improved on
    # x itself twice, the searches, and what slides along the boundary and back towards x.
    assert int(without.passes.max()) <= 2 + SHORT["steps"] * SHORT["searches"] + 30


@pytest.mark.parametrize("norm", NORMS)
def test_pixels_at_the_edges_of_the_box_move_too(norm: float) -> None:
    # Class 1 wins once x_0 - x_1 rises from -1 to -0.5: by 0.25 each in linf and l2, by 0.5 of one of them in l0.
    model = Linear(torch.tensor([[0.0, 0.0], [1.0, -1.0]]), torch.tensor([0.0, 0.5]))
    x = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    draws = images(conv_net(), 1)[2]
    x_adv = carlini_wagner(model, x, torch.tensor([0]), ThreatModel(norm, None), draws=draws, steps=100, step_size=0.1)
    assert int(model(x_adv).argmax(1)) == 1
    expected = {0.0: 1.0, 2.0: 0.125**0.5, inf: 0.25}[norm]
    assert float(lengths(x_adv - x, norm)) == pytest.approx(expected, rel=0.01)


def test_confidence_is_the_lead_of_the_other_class() -> None:
    model = conv_net()
    x, y, draws = images(model, 8)
    x_adv = carlini_wagner(model, x, y, ThreatModel(2, None), draws=draws, confidence=1.5, **SHORT)
    logits = model(x_adv)
    lead = logits.scatter(1, y[:, None], -inf).amax(1) - logits.gather(1, y[:, None])[:, 0]
    moved = (x_adv != x).flatten(1).any(1)
    assert int(moved.sum()) >= 6
    assert bool((lead[moved] >= 1.5 - 1e-5).all())


def test_l0_spends_its_changes_on_the_components_that_count() -> None:
    # Seven components are needed to lower the margin of 0.8 to 0, if the weights are 0.1 and x is grey ... or one.
    model = Linear(torch.tensor([[0.0] * 16, [0.1] * 15 + [2.0]]), torch.tensor([0.0, -2.55]))
    x = torch.full((1, 1, 4, 4), 0.5)
    draws = images(conv_net(), 1)[2]
    x_adv = carlini_wagner(model, x, torch.tensor([0]), ThreatModel(0, None), draws=draws, steps=100, step_size=0.1)
    assert int(model(x_adv).argmax(1)) == 1
    assert (x_adv != x).flatten().nonzero().flatten().tolist() == [15]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"searches": 0}, "searches must be at least 1"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"confidence": -1.0}, "confidence must not be negative"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        carlini_wagner(model, x, y, ThreatModel(2, None), draws=draws, **options)
