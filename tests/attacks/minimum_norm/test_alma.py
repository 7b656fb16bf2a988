"""alma: the penalty's slope, the first step's length, the walk against one written down for a single image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.minimum_norm import alma as module
from advbench.attacks.minimum_norm.alma import alma
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

NORMS = (1.0, 2.0)


def penalty(y: Tensor, rho: Tensor, mu: Tensor) -> Tensor:
    """P2 as in Birgin et al. 2005."""
    above = mu * y + mu * rho * y**2 + rho**2 * y**3 / 6
    return torch.where(y >= 0, above, mu * y / (1 - rho * y.clamp_max(0.0)))


def seen_points(model: nn.Module, x: Tensor, label: int, norm: float, steps: int) -> list[Tensor]:
    """The points of the walk from one image (1, ...), with autograd instead of derivatives by hand."""
    z, mu, rho, first = x, torch.ones(()).double(), torch.ones(()).double(), steps + 1
    square, speed, before, points = torch.ones_like(x), torch.zeros_like(x), torch.tensor(0.0), []
    for k in range(steps):
        points.append(z)
        leaf = z.clone().requires_grad_(True)
        logits = model(leaf)[0]
        top = logits.topk(3).values
        gap = logits[label] - torch.cat([logits[:label], logits[label + 1 :]]).max()
        g = (gap + 1e-4) / (top[0] - top[2] + 1e-8)
        if bool(gap < 0) and first > k:
            first = k
        if k and (k + 1) % 10 == 0:
            rho = rho if first <= k or bool(g < 0.95 * before) else 1.2 * rho
        if k == 0 or (k + 1) % 10 == 0:
            before = g.detach()
        if k:
            point = g.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(penalty(point, rho, mu), point)
            mu = (0.9 * mu + 0.1 * slope).clamp(1e-6, 1e12)
        loss = penalty(g, rho, mu) + (lengths(leaf - x, norm).sum() if k else 0.0)
        (grad,) = torch.autograd.grad(loss, leaf)
        rate = 0.1 * 0.01 ** (max(k - first, 0) / (steps - first))
        square = 0.9 * square + 0.1 * grad**2
        speed = 0.9 * speed + grad / (square.sqrt() + 1e-8)
        z = (z - rate * speed).clamp(0.0, 1.0)
    return points


class Camera(nn.Module):
    """Keeps what goes through."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.points = model, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.points.append(x.detach().clone())
        logits: Tensor = self.model(x)
        return logits


@pytest.mark.parametrize("norm", NORMS)
def test_it_walks_as_the_paper_does(norm: float) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 3)
    steps = 40
    camera = Camera(model)
    alma(camera, x.double(), y, ThreatModel(norm, None), draws=draws, steps=steps)
    walked = torch.stack(camera.points[1:])[: steps - 6]  # after the first look, before the landings
    for i in range(3):
        expected = torch.cat(seen_points(model, x[i : i + 1].double(), int(y[i]), norm, steps))
        assert_close(walked[:, i], expected[: len(walked)])


@given(st.floats(-3.0, 3.0), st.floats(0.1, 5.0), st.floats(0.1, 5.0))
def test_the_slope_is_that_of_the_penalty(y: float, rho: float, mu: float) -> None:
    point, *weights = (torch.tensor([value], dtype=torch.float64) for value in (y, rho, mu))
    point.requires_grad_(True)
    (expected,) = torch.autograd.grad(penalty(point, *weights).sum(), point)
    assert_close(module._slope(point.detach(), *weights), expected)


@given(seeds(), st.sampled_from(NORMS), st.floats(0.01, 0.5))
def test_the_first_step_is_as_long_as_asked_for(seed: int, norm: float, distance: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, grad = torch.rand(3, 1, 4, 4, generator=generator), torch.randn(3, 1, 4, 4, generator=generator)
    threat = ThreatModel(norm, None)
    rate = module._rate(x, grad, threat, distance).reshape(-1, 1, 1, 1)
    assert_close(lengths((x - rate * grad).clamp(0.0, 1.0) - x, norm), torch.full((3,), distance), rtol=1e-3, atol=1e-5)


@settings(max_examples=10)
@given(shapes(largest=3), seeds(), st.sampled_from(NORMS))
def test_it_finds_the_nearest_point_of_a_hyperplane(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    x_adv = alma(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws, steps=25)
    distance = lengths((x_adv - problem.x).double(), norm)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    # The tolerance of 1e-4 in the logits counts where the boundary is near.
    assert bool((distance <= 1.005 * problem.distance(norm) + 2e-4).all())


@pytest.mark.parametrize("targeted", [False, True])
def test_goals_are_reached_and_passes_spent_as_declared(targeted: bool) -> None:
    x, y, draws = images(conv_net(), 6)
    goal = (y + 1) % 4 if targeted else y
    watch = Counting(conv_net(), 6)
    how = {"steps": 60, "memory": 0.5, "first_distance": 0.1}
    x_adv = alma(watch, x, goal, ThreatModel(2, None), draws=draws, targeted=targeted, **how)
    assert bool(((conv_net()(x_adv).argmax(1) == goal) == targeted).all())
    assert watch.passes.tolist() == [61] * 6


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    for wrong in ({"steps": 0}, {"step_size": 0.0}, {"memory": 1.0}, {"first_distance": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            alma(model, x, y, ThreatModel(2, None), draws=draws, **wrong)
