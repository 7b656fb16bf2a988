"""ddn is algorithm 1 of its paper, and is not stopped by a cross entropy that has saturated."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.minimum_norm import ddn as module
from advbench.attacks.minimum_norm.approach import Sight
from advbench.attacks.minimum_norm.ddn import ddn
from advbench.core import devices
from advbench.core.draws import Draws
from advbench.testing import Linear, linear_problem
from advbench.testing.witness import Dead
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

ANYWHERE = ThreatModel(2, None)


def algorithm_1(model: nn.Module, x: Tensor, y: Tensor, steps: int, sign: float) -> Tensor:
    """One sample at a time, cross entropy, as in the paper; the point after the last step is not looked at."""
    results = []
    for image, label in zip(x, y[:, None], strict=True):
        z, eps, best, nearest = image[None], 1.0, image[None], math.inf
        for k in range(steps):
            leaf = z.clone().requires_grad_(True)
            logits = model(leaf)
            (g,) = torch.autograd.grad(sign * nn.functional.cross_entropy(logits, label), leaf)
            hit = bool(logits.argmax(1) == label) == (sign < 0)
            if hit and float((z - image).norm()) < nearest:
                best, nearest = z, float((z - image).norm())
            size = 0.01 + 0.99 * (1 + math.cos(math.pi * k / steps)) / 2
            delta = z - image + size * g / g.norm()
            eps = eps * (0.95 if hit else 1.05)
            z = (image + eps * delta / delta.norm()).clamp(0.0, 1.0)
        results.append(best)
    return torch.cat(results)


@pytest.mark.parametrize("targeted", [False, True])
def test_it_equals_the_paper_step_by_step(targeted: bool) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 6)
    goal = (y + 1) % 4 if targeted else y
    expected = algorithm_1(model, x.double(), goal, 25, -1.0 if targeted else 1.0)
    found = ddn(model, x.double(), goal, ANYWHERE, draws=draws, targeted=targeted, steps=25)
    assert_close(found, expected)
    assert bool(((model(found).argmax(1) == goal) == targeted).all())


@settings(max_examples=8)
@given(shapes(largest=3), seeds())
def test_it_finds_the_nearest_point_of_a_hyperplane(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    near = {"steps": 60, "gamma": 0.1, "first_radius": 0.02}
    x_adv = ddn(problem.model, problem.x, problem.y, ANYWHERE, draws=problem.draws, **near)
    ratio = (x_adv - problem.x).double().flatten(1).norm(dim=1) / problem.distance(2.0)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((ratio <= 1.02).all())


def test_a_saturated_net_is_attacked_as_if_it_were_not() -> None:
    steep = Linear(torch.tensor([[900.0, 300.0], [-900.0, -300.0]]), torch.tensor([-500.0, 500.0]))
    x, draws = torch.tensor([0.9, 0.8]).reshape(1, 1, 1, 2), Draws(0, torch.arange(1))
    # Margin 1,100 here, so softmax is 1 and 0 in any float; the boundary is 1,100 / |(1800, 600)| away.
    x_adv = ddn(steep, x, torch.tensor([0]), ANYWHERE, draws=draws)
    assert float((x_adv - x).norm()) == pytest.approx(1100 / math.hypot(1800, 600), rel=0.01)


def test_a_zero_gradient_sends_each_sample_on_a_way_of_its_own() -> None:
    x, y = torch.full((3, 1, 2, 2), 0.5), torch.zeros(3, dtype=torch.int64)
    seen: list[Tensor] = []

    class Watch(Dead):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(z.detach().clone())
            return super().forward(z)

    x_adv = ddn(Watch(3), x, y, ANYWHERE, draws=Draws(0, torch.tensor([4, 5, 4])), steps=3)
    assert torch.equal(x_adv, x)
    assert torch.equal(seen[-1][0], seen[-1][2])
    assert not torch.equal(seen[-1][0], seen[-1][1])


def test_a_gradient_that_vanishes_between_two_checks_holds_its_sample_until_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU; and what happens to a sample does not depend on the others."""
    monkeypatch.setitem(devices._STEPS_BETWEEN_CHECKS, "cpu", 5)
    slope, zero = torch.tensor([3.0, 4.0]), torch.zeros(2)
    grads = {step: torch.stack([slope if step == 0 else zero, zero, slope]) for step in range(7)}
    draws, found = Draws(0, torch.arange(3)), []
    for rows in (torch.arange(3), torch.tensor([0])):
        directions, known = module._Directions(draws), torch.zeros(len(rows), dtype=torch.bool)
        for step, grad in grads.items():
            z = torch.full((len(rows), 1, 1, 2), 0.5)
            told = torch.zeros(len(rows))
            sight = Sight(z, z, rows, told, told > 0, grad[rows].reshape(z.shape), told > 0, z, told)
            direction, known = directions.of(sight, known, step)
            found.append((step, direction.flatten(1)))
    whole, alone = found[:7], found[7:]
    for (step, direction), (_, mine) in zip(whole, alone, strict=True):
        assert_close(direction[2], slope / 5.0)
        assert_close(direction[1].norm(), torch.tensor(1.0))
        assert torch.equal(direction[0], mine[0])
        assert_close(direction[0].norm(), torch.tensor(0.0 if 0 < step < 5 else 1.0))


@given(st.booleans())
def test_passes_are_spent_as_declared(wrong: bool) -> None:
    x, y, draws = images(conv_net(), 4)
    watch = Counting(conv_net(), 4)
    ddn(watch, x, (y + 1) % 4 if wrong else y, ANYWHERE, draws=draws, steps=7)
    assert watch.passes.tolist() == [1 if wrong else 8] * 4


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    for wrong in ({"steps": 0}, {"gamma": 1.0}, {"first_radius": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ddn(model, x, y, ANYWHERE, draws=draws, **wrong)
