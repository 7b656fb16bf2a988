"""ead: near in l1, with few components changed."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.minimum_norm import ead as module
from advbench.attacks.minimum_norm.constant_search import lead
from advbench.attacks.minimum_norm.ead import ead
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

L1 = ThreatModel(1, None)
SHORT = {"steps": 30, "searches": 5, "step_size": 0.03}


@settings(max_examples=15)
@given(shapes(largest=3), seeds(), st.booleans())
def test_two_classes_fall_at_the_nearest_point(shape: tuple[int, int, int], seed: int, targeted: bool) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    y = 1 - problem.y if targeted else problem.y
    x_adv = ead(problem.model, problem.x, y, L1, draws=problem.draws, targeted=targeted, **SHORT)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    found = lengths(x_adv.double() - problem.x.double(), 1)
    assert bool((found <= 1.002 * problem.distance(1) + 1e-6).all())


def fista(model: nn.Module, x: Tensor, y: Tensor, c: float) -> Tensor | None:
    """The nearest example in l1 among the points where the gradient is taken; one image, written as in the paper."""
    beta, steps, size = 1e-3, 9, 0.05
    slow = fast = x
    best = None
    for k in range(steps):
        leaf = fast.clone().requires_grad_(True)
        logits = model(leaf)
        others = logits[0, torch.arange(logits.shape[1]) != y].max()
        loss = c * (logits[0, y] - others).clamp_min(0) + (leaf - x).square().sum()
        length = float((fast - x).abs().sum())
        if others > logits[0, y] and (best is None or length < float((best - x).abs().sum())):
            best = fast
        (grad,) = torch.autograd.grad(loss, leaf)
        z = fast - size * (1 - k / steps) ** 0.5 * grad
        # Equation 5.
        new = torch.where(
            z - x > beta, (z - beta).clamp_max(1.0), torch.where(z - x < -beta, (z + beta).clamp_min(0.0), x)
        )
        fast, slow = (new + k / (k + 3) * (new - slow)).clamp(0.0, 1.0), new
    return best


@pytest.mark.parametrize("c", [0.05, 0.5, 5.0])
def test_a_run_is_the_iteration_of_the_paper(c: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALLED", inf)
    model = conv_net()
    x, y, _ = images(model, 8)
    found, _ = module._shrink(
        lead(model, y, targeted=False), x, L1, torch.arange(8), torch.full((8,), c), steps=9, step_size=0.05, beta=1e-3
    )
    for i in range(8):
        expected = fista(model, x[i : i + 1], y[i], c)
        assert bool(found.reached[i]) == (expected is not None)
        if expected is not None:
            torch.testing.assert_close(found.z[i : i + 1], expected)


def test_a_radius_ends_the_search_of_the_samples_that_are_near_enough() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    anywhere, within = Counting(model, 12), Counting(model, 12)
    distance = lengths(ead(anywhere, x, y, L1, draws=draws, **SHORT) - x, 1)
    threat = ThreatModel(1, float(1.001 * distance.median()))
    fooled = model(ead(within, x, y, threat, draws=draws, **SHORT)).argmax(1) != y
    assert torch.equal(fooled, distance <= threat.radius)
    assert int(within.passes[fooled].sum()) < int(anywhere.passes[fooled].sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"searches": 0}, "searches must be at least 1"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"beta": -1.0}, "beta must not be negative"),
        ({"confidence": -1.0}, "confidence must not be negative"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        ead(model, x, y, L1, draws=draws, **options)
