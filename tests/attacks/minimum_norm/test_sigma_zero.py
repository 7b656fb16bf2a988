"""sigma_zero is algorithm 1 of its paper and finds the fewest components of a linear model."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.minimum_norm.sigma_zero import sigma_zero
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

ANYWHERE = ThreatModel(0, None)


def algorithm_1(model: nn.Module, x: Tensor, label: int, steps: int) -> Tensor:
    """One image (1, ...), with torch's Adam and one learning rate per step."""
    delta, tau, best = torch.zeros_like(x).requires_grad_(True), 0.3, x
    adam, fewest = torch.optim.Adam([delta], lr=1.0), x.numel() + 1
    for k in range(steps):
        rate = 0.1 + 0.9 * (1 + math.cos(math.pi * k / steps)) / 2
        logits = model(x + delta)[0]
        margin = logits[label] - torch.cat([logits[:label], logits[label + 1 :]]).max()
        hit, count = bool(margin < 0), int(delta.count_nonzero())
        if hit and count < fewest:
            best, fewest = (x + delta).detach(), count
        loss = margin.clamp_min(0.0) + (delta**2 / (delta**2 + 1e-3)).mean()
        (grad,) = torch.autograd.grad(loss, delta)
        delta.grad = grad / grad.abs().max().clamp_min(1e-12)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        tau = min(max(tau + 0.01 * rate * (1 if hit else -1), 0.0), 1.0)
        with torch.no_grad():
            delta.copy_((x + delta).clamp(0.0, 1.0) - x)
            delta[delta.abs() < tau] = 0.0
    return best


def test_it_equals_the_paper_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the last steps, which are ours."""
    monkeypatch.setattr(import_module("advbench.attacks.minimum_norm.sigma_zero"), "_THINNING", 0.0)
    model = conv_net().double()
    x, y, draws = images(conv_net(), 6)
    expected = torch.cat([algorithm_1(model, x[i : i + 1].double(), int(y[i]), 20) for i in range(6)])
    found = sigma_zero(model, x.double(), y, ANYWHERE, draws=draws, steps=20)
    assert_close(found, expected)
    assert bool((model(found).argmax(1) != y).all())


@settings(max_examples=6)
@given(shapes(largest=3), seeds())
def test_it_finds_the_fewest_components(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    x_adv = sigma_zero(problem.model, problem.x, problem.y, ANYWHERE, draws=problem.draws, steps=60)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert_close(lengths(x_adv - problem.x, 0.0).double(), problem.distance(0.0))


def test_two_components_are_found_where_one_is_too_few() -> None:
    weight = torch.tensor([3.0, 2.0, 1.0, 0.5])
    model = Linear(torch.stack([weight, torch.zeros(4)]), torch.tensor([-2.25, 0.0]))
    x = torch.ones(1, 1, 2, 2)
    # The score 6.5 - 2.25 = 4.25 falls by 3 and 2 with the first two components at 0, not with fewer.
    x_adv = sigma_zero(model, x, torch.tensor([0]), ANYWHERE, draws=Draws(0, torch.arange(1)), steps=200)
    assert torch.equal(x_adv.flatten() != 1.0, torch.tensor([True, True, False, False]))


def test_the_last_steps_take_off_what_the_paper_leaves() -> None:
    """One step in forty puts a component back: no image needs more of them than by the paper, and some need fewer."""
    model = conv_net()
    x, y, draws = images(model, 32)
    paper = torch.cat([algorithm_1(model, x[i : i + 1], int(y[i]), 40) for i in range(len(x))])
    found = sigma_zero(model, x, y, ANYWHERE, draws=draws, steps=40)
    assert bool((model(found).argmax(1) != y).all())
    ours, theirs = lengths(found - x, 0.0), lengths(paper - x, 0.0)
    assert bool((ours <= theirs).all())
    assert bool((ours < theirs).any())


def test_targets_are_reached_and_passes_spent_as_declared() -> None:
    x, y, draws = images(conv_net(), 6)
    goal = (y + 1) % 4
    watch = Counting(conv_net(), 6)
    x_adv = sigma_zero(watch, x, goal, ANYWHERE, draws=draws, targeted=True, steps=30)
    assert torch.equal(conv_net()(x_adv).argmax(1), goal)
    assert watch.passes.tolist() == [31] * 6


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    for wrong in ({"steps": 0}, {"step_size": 0.0}, {"sigma": 0.0}, {"threshold": -1.0}, {"threshold_step": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            sigma_zero(model, x, y, ANYWHERE, draws=draws, **wrong)
