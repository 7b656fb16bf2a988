"""pdpgd: its proximal steps are minima, linear boundaries are met, the landings at the end cost no pass."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.minimum_norm import pdpgd as module
from advbench.attacks.minimum_norm.pdpgd import pdpgd
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

NORMS = (0.0, 1.0, 2.0, inf)


def size(z: Tensor, norm: float) -> Tensor:
    """What the proximal step of `norm` shortens."""
    return z.flatten(1).abs().pow(2 / 3).sum(1) if norm == 0 else lengths(z, norm)


@given(seeds(), st.sampled_from((0.0, 1.0, inf)), st.floats(0.01, 1.0))
def test_nothing_near_a_proximal_point_is_better(seed: int, norm: float, weight: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    z = module._PROXIMAL[norm](delta, torch.tensor([weight], dtype=torch.float64))

    def value(point: Tensor) -> Tensor:
        return weight * size(point, norm) + 0.5 * (point - delta).square().sum(1)

    noise = torch.randn(2000, 5, generator=generator, dtype=torch.float64) * torch.logspace(-4, 0, 2000)[:, None]
    some = (torch.rand(2000, 5, generator=generator) < 0.5).double()
    others = torch.cat([z + noise, z + noise * some, z * some, delta * some])
    assert float(value(others).min()) >= float(value(z)) - 1e-9


@given(st.floats(-2.0, 2.0), st.floats(0.01, 1.0))
def test_the_step_of_two_thirds_is_the_best_of_a_fine_grid(x: float, weight: float) -> None:
    delta = torch.tensor([[x]], dtype=torch.float64)
    z = module._two_thirds(delta, torch.tensor([weight], dtype=torch.float64))
    grid = torch.linspace(-2.0, 2.0, 4001, dtype=torch.float64)
    values = weight * grid.abs().pow(2 / 3) + 0.5 * (grid - x).square()
    assert float(weight * z.abs().pow(2 / 3) + 0.5 * (z - x).square()) <= float(values.min()) + 1e-9


@settings(max_examples=12)
@given(shapes(largest=3), seeds(), st.sampled_from(NORMS))
def test_it_finds_the_nearest_point_of_a_hyperplane(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    x_adv = pdpgd(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws, steps=20)
    distance = lengths((x_adv - problem.x).double(), norm)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((distance <= 1.002 * problem.distance(norm) + 1e-6).all())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_goals_are_reached_and_passes_spent_as_declared(norm: float, targeted: bool) -> None:
    x, y, draws = images(conv_net(), 6)
    goal = (y + 1) % 4 if targeted else y
    watch = Counting(conv_net(), 6)
    x_adv = pdpgd(watch, x, goal, ThreatModel(norm, None), draws=draws, targeted=targeted, steps=60)
    assert bool(((conv_net()(x_adv).argmax(1) == goal) == targeted).all())
    assert watch.passes.tolist() == [61] * 6


@pytest.mark.parametrize("norm", NORMS)
def test_more_steps_come_nearer(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    few, many = (
        lengths(pdpgd(model, x, y, ThreatModel(norm, None), draws=draws, steps=steps) - x, norm) for steps in (10, 200)
    )
    assert float(many.mean()) < float(few.mean())


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    for wrong in ({"steps": 0}, {"step_size": 0.0}, {"dual_step": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            pdpgd(model, x, y, ThreatModel(2, None), draws=draws, **wrong)
