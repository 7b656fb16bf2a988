"""mi_fgsm is algorithm 1 of its paper."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient.mi_fgsm import mi_fgsm
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes


def algorithm_1(model: nn.Module, x: Tensor, y: Tensor, eps: float, decay: float) -> Tensor:
    """One sample at a time, 10 steps, written down as in the paper (x* is clipped to the ball and to [0, 1])."""
    results = []
    for image, label in zip(x, y, strict=True):
        z, g = image[None].clone(), torch.zeros_like(image[None])
        for _ in range(10):
            leaf = z.clone().requires_grad_(True)
            (grad,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), label[None]), leaf)
            g = decay * g + grad / grad.abs().mean()
            z = (z + eps / 10 * g.sign()).clamp(image - eps, image + eps).clamp(0.0, 1.0)
        results.append(z)
    return torch.cat(results)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_it_equals_the_paper_step_by_step(decay: float) -> None:
    model = conv_net()
    x, y, draws = images(model)
    expected = algorithm_1(model, x, y, 0.02, decay)
    found = mi_fgsm(model, x, y, ThreatModel(inf, 0.02), draws=draws, decay=decay, early_stop=False)
    last = model(expected).argmax(1) != y  # else an adversarial point of the path is returned instead
    same = (found - expected).abs().flatten(1).amax(1) < 1e-5
    assert bool((same | ~last).all())
    assert bool(last.any())
    assert bool((same | (model(found).argmax(1) != y)).all())


@settings(max_examples=15)
@given(shapes(largest=3), seeds(), st.sampled_from((2.0, inf)))
def test_two_classes_fall_exactly_where_eps_exceeds_the_distance(
    shape: tuple[int, int, int], seed: int, norm: float
) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    for i, distance in enumerate(problem.distance(norm).tolist()):
        row = torch.tensor([i])
        for factor in (0.999, 1.001):
            threat = ThreatModel(norm, factor * distance + (factor - 1.0) * 1e-3)
            x_adv = mi_fgsm(problem.model, problem.x[row], problem.y[row], threat, draws=problem.draws.rows(row))
            assert bool(problem.model(x_adv).argmax(1) != problem.y[i]) == (factor > 1.0)


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        mi_fgsm(model, x, y, ThreatModel(inf, 0.1), draws=draws, steps=0)
    with pytest.raises(ConfigError, match="needs a radius"):
        mi_fgsm(model, x, y, ThreatModel(inf, None), draws=draws)
