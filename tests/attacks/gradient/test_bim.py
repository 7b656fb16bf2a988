"""bim: grey level by grey level along the sign of the gradient."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient.bim import bim
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes


def by_hand(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, step: float, steps: int) -> Tensor:
    """The last iterate, one sample at a time."""
    results = []
    for image, label in zip(x, y, strict=True):
        z = image[None].clone()
        for _ in range(steps):
            leaf = z.clone().requires_grad_(True)
            (grad,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), label[None]), leaf)
            z = (z + step * grad.sign()).clamp(image - eps, image + eps).clamp(0.0, 1.0)
        results.append(z)
    return torch.cat(results)


@pytest.mark.parametrize(("levels", "steps"), [(2, 3), (8, 10), (16, 20), (64, 68)])
def test_the_number_of_steps_is_the_paper_s(levels: int, steps: int) -> None:
    model = conv_net()
    x, y, draws = images(model, 3)
    counting = Counting(model, 3)
    bim(counting, x, y, ThreatModel(inf, levels / 255), draws=draws, early_stop=False)
    assert counting.passes.tolist() == [steps + 1] * 3


def test_it_is_as_wrong_as_the_loop_written_down() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    for steps, size, count in ((None, 1 / 255, 8), (5, 6 / 255 / 5, 5)):
        expected = by_hand(model, x, y, eps=6 / 255, step=size, steps=count)
        found = bim(model, x, y, ThreatModel(inf, 6 / 255), draws=draws, steps=steps, early_stop=False)
        loss = [nn.functional.cross_entropy(model(z), y, reduction="none") for z in (expected, found)]
        assert bool((loss[1] >= loss[0] - 1e-5).all())  # the strongest iterate is at least as strong as the last
        assert int(((found - expected).abs().flatten(1).amax(1) < 1e-5).sum()) >= 12


@given(shapes(largest=3), seeds(), st.sampled_from((None, 1, 7)))
def test_two_classes_fall_exactly_where_eps_exceeds_the_distance(
    shape: tuple[int, int, int], seed: int, steps: int | None
) -> None:
    problem = linear_problem(shape, 2, 1, seed)
    distance = float(problem.distance(inf)[0])
    for factor in (0.999, 1.001):
        threat = ThreatModel(inf, factor * distance + (factor - 1.0) * 1e-3)
        x_adv = bim(problem.model, problem.x, problem.y, threat, draws=problem.draws, steps=steps)
        assert bool(problem.model(x_adv).argmax(1) != problem.y) == (factor > 1.0)


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        bim(model, x, y, ThreatModel(inf, 0.1), draws=draws, steps=0)
    with pytest.raises(ConfigError, match="needs a radius"):
        bim(model, x, y, ThreatModel(inf, None), draws=draws)
