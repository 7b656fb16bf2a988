"""loss_ascent is the loop of the lecture: SGD on minus the cross entropy."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch import Tensor, nn

from advbench.attacks.gradient.loss_ascent import loss_ascent
from advbench.core.norms import lengths
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images

FREE = ThreatModel(2, None)


def lecture(model: nn.Module, x: Tensor, y: Tensor, steps: int, rate: float) -> list[Tensor]:
    """The point before the first step and after each one."""
    point = x.clone().requires_grad_(True)
    optimizer = torch.optim.SGD([point], lr=rate)
    path = [x.clone()]
    for _ in range(steps):
        loss = -nn.functional.cross_entropy(model(point), y, reduction="sum")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            point.clamp_(0.0, 1.0)
        path.append(point.detach().clone())
    return path


@pytest.mark.slow
def test_it_walks_the_path_of_the_lecture_and_shows_the_class_after_every_step() -> None:
    model = conv_net()
    x, y, draws = images(model)
    path = lecture(model, x, y, steps=15, rate=0.02)
    watched = Counting(model, len(x))
    found = loss_ascent(watched, x, y, FREE, draws=draws, step_size=0.02)
    assert torch.equal(torch.stack(watched.predictions), torch.stack([model(point).argmax(1) for point in path]))
    assert bool((watched.passes == 16).all())
    adversarial = torch.stack([model(point).argmax(1) != y for point in path])  # (16, B)
    assert bool(adversarial[-1].any())
    for i in range(len(x)):
        seen = adversarial[:, i].nonzero()[:, 0]
        last = int(seen[-1]) if len(seen) else 15
        assert torch.allclose(found[i], path[last][i], atol=1e-6)


def test_an_adversarial_point_of_the_path_is_not_lost() -> None:
    """Steps so large that they jump over the other class and back."""
    model = conv_net()
    x, y, draws = images(model, 40)
    for step_size in (0.5, 2.0):
        path = lecture(model, x, y, steps=5, rate=step_size)
        ever = torch.stack([model(point).argmax(1) != y for point in path]).any(0)
        found = loss_ascent(model, x, y, FREE, draws=draws, step_size=step_size, steps=5)
        assert torch.equal(model(found).argmax(1) != y, ever)


@pytest.mark.parametrize("norm", [1.0, 2.0, inf])
def test_a_radius_bounds_the_whole_path(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model)
    found = loss_ascent(model, x, y, ThreatModel(norm, 0.01), draws=draws, step_size=1.0)
    assert float(lengths(found.double() - x.double(), norm).max()) <= 0.01 * (1 + 1e-4)
    assert bool((lengths(found - x, norm) > 0).any())


def test_targeted_it_descends_to_the_class() -> None:
    model = conv_net()
    x, y, draws = images(model)
    goal = (y + 1) % 4
    found = loss_ascent(model, x, goal, FREE, draws=draws, targeted=True, step_size=0.05, steps=60)
    assert float((model(found).argmax(1) == goal).double().mean()) > 0.9


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        loss_ascent(model, x, y, FREE, draws=draws, steps=0)
    with pytest.raises(ConfigError, match="step_size must be positive"):
        loss_ascent(model, x, y, FREE, draws=draws, step_size=0.0)
