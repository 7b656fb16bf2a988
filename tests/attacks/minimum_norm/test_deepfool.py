"""deepfool and superdeepfool step as their papers say and end on the boundary."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from advbench.attacks.minimum_norm.deepfool import deepfool
from advbench.attacks.minimum_norm.superdeepfool import superdeepfool
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import norms, seeds, shapes


def first_steps(model: nn.Module, image: Tensor, label: int, norm: float, steps: int) -> tuple[Tensor, int]:
    """One sample (1, C, H, W), from the paper: z to the nearest linearised class, looked at x + 1.02 (z - x)."""
    z = image.clone()
    for i in range(steps):
        leaf = z.clone().requires_grad_(True)
        logits = model(leaf)[0]
        moves = []
        for other in (k for k in range(len(logits)) if k != label):
            (w,) = torch.autograd.grad(logits[other] - logits[label], leaf, retain_graph=True)
            gap = float((logits[label] - logits[other]).detach())
            size = float(w.norm() if norm == 2 else w.abs().sum())
            moves.append((gap / size, w / size if norm == 2 else w.sign()))
        length, way = min(moves, key=lambda move: move[0])
        z = (z + (length + 1e-4) * way).clamp(0.0, 1.0)
        ahead = (image + 1.02 * (z - image)).clamp(0.0, 1.0)
        if int(model(ahead).argmax()) != label:
            return ahead, i + 1
    return image, steps


@pytest.mark.parametrize("norm", [2.0, inf])
def test_it_equals_the_paper_step_by_step(norm: float) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 12)
    x = x.double()
    found = deepfool(model, x, y, ThreatModel(norm, None), draws=draws, steps=8, slide_steps=0, search_steps=0)
    by_hand = [first_steps(model, x[i : i + 1], int(y[i]), norm, 8) for i in range(len(x))]
    assert max(steps for _, steps in by_hand) > 1
    torch.testing.assert_close(found, torch.cat([z for z, _ in by_hand]), rtol=0, atol=1e-9)


@settings(max_examples=15)
@given(shapes(largest=3), seeds(), norms(2.0, inf))
def test_two_classes_fall_at_the_closed_form_distance(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    for method in (deepfool, superdeepfool):
        if norm == inf and method is superdeepfool:
            continue
        x_adv = method(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws)
        assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
        found = lengths(x_adv.double() - problem.x.double(), norm)
        assert bool((found <= 1.005 * problem.distance(norm) + 1e-6).all())


class Bowl(nn.Module):
    """Two classes apart by an ellipse around the grey image, on which DeepFool does not end at the nearest point."""

    def forward(self, z: Tensor) -> Tensor:
        d = z.flatten(1) - 0.5
        margin = 0.09 - d[:, 0] ** 2 - 4.0 * d[:, 1] ** 2
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def nearest_on_the_ellipse(x: Tensor) -> Tensor:
    """Distance (B,) from x (B, 1, 1, 2) to the ellipse, by looking at many of its points."""
    t = torch.linspace(0.0, 2.0 * torch.pi, 50_001, dtype=torch.float64)
    points = torch.stack([0.5 + 0.3 * t.cos(), 0.5 + 0.15 * t.sin()], 1)
    return torch.stack([(points - each).norm(dim=1).amin() for each in x.flatten(1).double()])


def test_projections_and_slides_find_the_nearest_point_of_a_curved_boundary() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + torch.tensor([0.12, 0.08]) * (2.0 * torch.rand(64, 1, 1, 2, generator=generator) - 1.0)
    y, draws = torch.zeros(64, dtype=torch.int64), images(conv_net(), 64)[2]
    threat, model = ThreatModel(2.0, None), Bowl()
    plain, slid, straight, more = (
        lengths(x_adv.double() - x, 2.0) / nearest_on_the_ellipse(x)
        for x_adv in (
            deepfool(model, x, y, threat, draws=draws, slide_steps=0),
            deepfool(model, x, y, threat, draws=draws),
            superdeepfool(model, x, y, threat, draws=draws),
            superdeepfool(model, x, y, threat, draws=draws, rounds=20),
        )
    )
    assert bool((slid <= plain + 1e-4).all())
    assert float(slid.max()) < 1.01 < float(plain.max())
    assert bool((straight <= plain + 1e-4).all())
    assert float(straight.mean()) < float(plain.mean()) - 0.01
    assert float(more.median()) < 1.005


class Plateau(nn.Module):
    """The margin is the 61st power of the distance to the boundary: a step goes only a 61st of what is left of it."""

    def forward(self, z: Tensor) -> Tensor:
        left = 0.7 - z.flatten(1).mean(1)
        margin = left.sign() * left.abs() ** 61
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def test_superdeepfool_has_steps_enough_where_the_boundary_always_looks_near() -> None:
    """Four pixels at 0.2 must rise by a half: length 1. Ten rounds of 50 steps, once the default, never arrive."""
    x, y = torch.full((2, 1, 2, 2), 0.2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    draws = images(conv_net(), 2)[2]
    threat = ThreatModel(2.0, None)
    assert torch.equal(superdeepfool(Plateau(), x, y, threat, draws=draws, rounds=10, steps=50), x)
    found = lengths(superdeepfool(Plateau(), x, y, threat, draws=draws) - x, 2.0)
    assert bool(((found >= 1.0) & (found < 1.02)).all())


@pytest.mark.parametrize("method", [deepfool, superdeepfool])
def test_the_example_is_on_the_verge_of_the_class(method: Callable[..., Tensor]) -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    x_adv = method(model, x, y, ThreatModel(2.0, None), draws=draws)
    assert bool((model(x_adv).argmax(1) != y).all())
    assert bool((model(x + 0.99 * (x_adv - x)).argmax(1) == y).all())


def test_fewer_candidates_cost_less_and_the_nearest_boundary_is_still_found() -> None:
    problem = linear_problem((1, 3, 3), 8, 16, 3)
    threat = ThreatModel(2.0, None)
    few, all_of_them = (
        lengths(deepfool(problem.model, problem.x, problem.y, threat, draws=problem.draws, candidates=k) - problem.x, 2)
        for k in (1, 7)
    )
    assert bool((all_of_them <= few * 1.01).all())
    assert bool((all_of_them <= problem.distance(2.0) * 1.01 + 1e-6).all())


def test_towards_a_target() -> None:
    model = conv_net()
    x, y, draws = images(model, 16)
    goal = (y + 1) % 4
    for method in (deepfool, superdeepfool):
        x_adv = method(model, x, goal, ThreatModel(2.0, None), draws=draws, targeted=True)
        arrived = model(x_adv).argmax(1) == goal
        assert int(arrived.sum()) >= 13
        assert torch.equal(x_adv[~arrived], x[~arrived])


def test_passes_of_a_sample_that_never_falls() -> None:
    """1 for x, 2 per step: the linearisation and the look ahead."""

    class Dead(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0]) + 0.0 * z.flatten(1).sum(1, keepdim=True)

    x, _, draws = images(conv_net(), 3)
    for method in (deepfool, superdeepfool):
        counting = Counting(Dead(), len(x))
        x_adv = method(counting, x, torch.zeros(3, dtype=torch.int64), ThreatModel(2.0, None), draws=draws, steps=5)
        assert counting.passes.tolist() == [11, 11, 11]
        assert torch.equal(x_adv, x)


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    threat = ThreatModel(2.0, None)
    for method in (deepfool, superdeepfool):
        with pytest.raises(ConfigError, match="steps must be at least 1"):
            method(model, x, y, threat, draws=draws, steps=0)
        with pytest.raises(ConfigError, match="candidates must be at least 1"):
            method(model, x, y, threat, draws=draws, candidates=0)
        with pytest.raises(ConfigError, match="overshoot must not be negative"):
            method(model, x, y, threat, draws=draws, overshoot=-0.1)
    with pytest.raises(ConfigError, match="rounds must be at least 1"):
        superdeepfool(model, x, y, threat, draws=draws, rounds=0)
