"""pgd_l0: on two linear classes success is decided by the closed form; steps, starts and restarts are as described."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from advbench.attacks.gradient import pgd_l0 as module
from advbench.attacks.gradient.pgd_l0 import pgd_l0
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes


@settings(max_examples=15)
@given(shapes(largest=3), seeds())
def test_two_classes_fall_where_eps_components_are_enough(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    for eps in range(4):
        threat = ThreatModel(0, eps)
        x_adv = pgd_l0(problem.model, problem.x, problem.y, threat, draws=problem.draws, steps=20, restarts=1)
        fooled = problem.model(x_adv).argmax(1) != problem.y
        assert bool((fooled == (problem.distance(0.0) <= eps)).all())
        assert bool((lengths(x_adv - problem.x, 0.0) <= eps).all())


def test_the_mean_component_of_a_step_has_the_size_asked_for() -> None:
    grad = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    grad[2] = 0.0
    move, _ = module._by_mean_size(lambda progress: 1.0 - progress).update(grad, (), 0.25)
    assert_close(move.flatten(1).abs().mean(1), torch.tensor([0.75, 0.75, 0.0]))
    assert_close(move[:2].sign(), -grad[:2].sign())


def test_the_best_two_of_four_components_are_chosen() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0, 0.5])
    model = Linear(torch.stack([weight, torch.zeros(4)]), torch.tensor([-1.75, 0.0]))
    x, draws = torch.ones(1, 1, 2, 2), Draws(0, torch.arange(1))
    # The score 6.5 - 1.75 = 4.75 falls by 5 with the second and third component at 0, and by less with any other two.
    x_adv = pgd_l0(model, x, torch.tensor([0]), ThreatModel(0, 2), draws=draws)
    assert torch.equal(x_adv.flatten() != 1.0, torch.tensor([False, True, True, False]))


def test_restarts_are_for_survivors_and_never_hurt() -> None:
    x, y, draws = images(conv_net(), 16)
    threat = ThreatModel(0, 1)
    fooled = []
    for restarts in (1, 3):
        watch = Counting(conv_net(), 16)
        x_adv = pgd_l0(watch, x, y, threat, draws=draws, steps=10, restarts=restarts)
        fooled.append(conv_net()(x_adv).argmax(1) != y)
        assert bool((watch.passes[~fooled[-1]] == 11 * restarts).all())
    assert bool((fooled[1] | ~fooled[0]).all())
    assert bool((~fooled[1]).any())


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    for wrong in ({"steps": 0}, {"restarts": 0}, {"relative_step": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            pgd_l0(model, x, y, ThreatModel(0, 2), draws=draws, **wrong)
    with pytest.raises(ConfigError, match="needs a radius"):
        pgd_l0(model, x, y, ThreatModel(0, None), draws=draws)
