"""fab and fab_t walk along the boundary as their paper says, and find what a direct search finds."""

from __future__ import annotations

import math
from math import inf

import pytest
import torch
from hypothesis import given, settings
from scipy import optimize
from torch import Tensor, nn

from advbench.attacks.minimum_norm.fab import fab
from advbench.attacks.minimum_norm.fab_t import fab_t
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.models.watch import Watched
from advbench.registry import ATTACKS
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import norms, seeds, shapes


def nearest_to(z: Tensor, normal: Tensor, offset: float, norm: float) -> Tensor:
    """Nearest point to z (D,) with <normal, p> + offset = 0 in [0, 1], by root finding instead of sorting."""
    value = float(normal @ z) + offset
    way = -math.copysign(1.0, value) * normal

    def point(t: float) -> Tensor:
        return (z + t * (way if norm == 2 else way.sign())).clamp(0.0, 1.0)

    def rest(t: float) -> float:
        return (float(normal @ point(t)) + offset) * math.copysign(1.0, value)

    if value == 0:
        return z
    high = 1.0
    while rest(high) > 0 and high < 1e9:
        high *= 2.0
    return point(high) if rest(high) > 0 else point(float(optimize.brentq(rest, 0.0, high, xtol=1e-15)))


def algorithm_1(model: nn.Module, image: Tensor, label: int, norm: float, steps: int) -> Tensor:
    """One sample (D,) in float64, written down from the paper; the nearest example."""
    shape = (1, 1, 6, 6)
    best, best_distance, z = image.clone(), inf, image.clone()
    for _ in range(steps):
        leaf = z.clone().requires_grad_(True)
        logits = model(leaf.reshape(shape))[0]
        gaps = []
        for other in (k for k in range(len(logits)) if k != label):
            (w,) = torch.autograd.grad(logits[other] - logits[label], leaf, retain_graph=True)
            f = float((logits[other] - logits[label]).detach())
            gaps.append((abs(f) / float(w.norm() if norm == 2 else w.abs().sum()), w, f - float(w @ z)))
        _, w, b = min(gaps, key=lambda gap: gap[0])
        step, step_x = nearest_to(z, w, b, norm) - z, nearest_to(image, w, b, norm) - image
        a, a_x = (float(lengths(each[None], norm)) for each in (step, step_x))
        alpha = min(a / (a + a_x), 0.1)
        z = ((1 - alpha) * (z + 1.05 * step) + alpha * (image + 1.05 * step_x)).clamp(0.0, 1.0)
        if int(model(z.reshape(shape)).argmax()) != label:
            distance = float(lengths((z - image)[None], norm))
            if distance < best_distance:
                best, best_distance = z.clone(), distance
            z = 0.1 * image + 0.9 * z
    return best


@pytest.mark.parametrize("norm", [2.0, inf])
def test_it_equals_the_paper_step_by_step(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 8)
    model, x = model.double(), x.double()
    found = fab(model, x, y, ThreatModel(norm, None), draws=draws, steps=8, search_steps=0)
    expected = torch.stack(
        [algorithm_1(model, x[i].flatten(), int(y[i]), norm, 8).reshape(1, 6, 6) for i in range(len(x))]
    )
    assert bool((lengths(expected - x, norm) > 0).any())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


@settings(max_examples=15)
@given(shapes(largest=3), seeds(), norms(1.0, 2.0, inf))
def test_two_classes_fall_at_the_closed_form_distance(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    optimum = problem.distance(norm)
    for method in (fab, fab_t):
        x_adv = method(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws, steps=10)
        assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
        found = lengths(x_adv.double() - problem.x.double(), norm)
        assert bool((found <= 1.005 * optimum + 1e-6).all())


@given(seeds(), norms(1.0, 2.0, inf))
@settings(max_examples=5)
def test_more_restarts_are_never_further(seed: int, norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 6, seed)
    for method in (fab, fab_t):
        once, twice = (
            lengths(
                method(model, x, y, ThreatModel(norm, None), draws=draws, steps=5, restarts=runs, search_steps=0) - x,
                norm,
            )
            for runs in (1, 2)
        )
        assert bool((twice <= once + 1e-6).all())


def test_the_restart_begins_at_half_the_radius() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    x = 0.4 + 0.2 * x.double()
    model = model.double()
    y = model(x).argmax(1)
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(z.detach())
            logits: Tensor = model(z)
            return logits

    fab(Spy(), x, y, ThreatModel(2.0, 1e-4), draws=draws, steps=1, restarts=2)
    start = seen[3]  # after x, its linearisation and the step of the first run
    torch.testing.assert_close(lengths(start - x, 2.0), torch.full((12,), 5e-5, dtype=torch.float64))


@pytest.mark.parametrize("norm", [1.0, 2.0, inf])
def test_the_example_is_on_the_verge_of_the_class(norm: float) -> None:
    """The final search leaves nothing: a tenth of a percent nearer to x on the segment, the label is the old one."""
    model = conv_net()
    x, y, draws = images(model, 12)
    for method in (fab, fab_t):
        x_adv = method(model, x, y, ThreatModel(norm, None), draws=draws, steps=10)
        fooled = model(x_adv).argmax(1) != y
        assert bool(fooled.all())
        assert bool((model(x + 0.99 * (x_adv - x)).argmax(1) == y).all())


def test_a_radius_ends_the_work_of_a_sample() -> None:
    """Within a large ball the first example is enough; the other passes are saved."""
    model = conv_net()
    x, y, draws = images(model, 8)
    for method in (fab, fab_t):
        free, bound = Counting(model, len(x)), Counting(model, len(x))
        near = method(free, x, y, ThreatModel(2.0, None), draws=draws, steps=10)
        distances = lengths(near - x, 2.0)
        radius = 1.5 * float(distances.max())
        x_adv = method(bound, x, y, ThreatModel(2.0, radius), draws=draws, steps=10)
        assert bool((model(x_adv).argmax(1) != y).all())
        assert int(bound.passes.sum()) < 0.4 * int(free.passes.sum())


def test_passes_of_a_sample_that_holds() -> None:
    """1 for x, 2 per step; as many walks as there are targets."""
    model = conv_net()
    x, y, draws = images(model, 4)
    for method, walks in ((fab, 1), (fab_t, 3)):
        counting = Counting(model, len(x))
        method(counting, x, y, ThreatModel(inf, 1e-6), draws=draws, steps=7)
        held = counting.passes[counting.passes > 1 + 2 * 7 * walks - 1]
        assert len(held)
        assert bool((held <= 1 + 2 * 7 * walks + 3).all())


@pytest.mark.parametrize("norm", [1.0, 2.0, inf])
def test_classes_walked_to_at_once_are_those_walked_to_in_turn(norm: float) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 8)
    x, threat, one = x.double(), ThreatModel(norm, None), Counting(model, 8)
    expected = fab_t(one, x, y, threat, draws=draws, steps=6)
    for abreast in (2, 3, 9):
        counting = Counting(model, 8)
        found = fab_t(counting, x, y, threat, draws=draws, steps=6, abreast=abreast)
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0.0)
        assert torch.equal(counting.passes, one.passes)


def test_towards_a_target() -> None:
    """Where the target is reached the label is the target; elsewhere x comes back."""
    model = conv_net()
    x, y, draws = images(model, 16)
    goal = (y + 1) % 4
    x_adv = fab(model, x, goal, ThreatModel(2.0, None), draws=draws, targeted=True, steps=20)
    arrived = model(x_adv).argmax(1) == goal
    assert int(arrived.sum()) >= 13
    assert torch.equal(x_adv[~arrived], x[~arrived])


def test_fewer_classes_cost_fewer_passes_and_all_of_them_are_the_paper() -> None:
    model = conv_net()
    x, y, draws = images(model, 6)
    others = model(x).shape[1] - 1
    found = {}
    for candidates in (None, others, 1):
        watched = Watched(model, y, targeted=False)
        threat = ThreatModel(2.0, None)
        found[candidates] = fab(watched, x, y, threat, draws=draws, steps=5, candidates=candidates, search_steps=0)
        assert set(watched.backwards.tolist()) == {5 * (candidates or others)}
    assert torch.equal(found[None], found[others])
    assert bool((model(found[1]).argmax(1) != y).any())


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    threat = ThreatModel(inf, None)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        fab(model, x, y, threat, draws=draws, steps=0)
    with pytest.raises(ConfigError, match="restarts must be at least 1"):
        fab(model, x, y, threat, draws=draws, restarts=0)
    with pytest.raises(ConfigError, match="candidates must be at least 1"):
        fab(model, x, y, threat, draws=draws, candidates=0)
    with pytest.raises(ConfigError, match="eta must be positive"):
        fab_t(model, x, y, threat, draws=draws, eta=0.0)
    with pytest.raises(ConfigError, match="target_classes must be at least 1"):
        fab_t(model, x, y, threat, draws=draws, target_classes=0)
    with pytest.raises(ConfigError, match="abreast must be at least 1"):
        fab_t(model, x, y, threat, draws=draws, abreast=0)


class Plateau(nn.Module):
    """Class 0 around the grey image, without any slope there; class 1 from 0.1 away in some component on."""

    def forward(self, x: Tensor) -> Tensor:
        outside = ((x - 0.5).flatten(1).abs() - 0.1).clamp_min(0.0).sum(1)
        return torch.stack([torch.full_like(outside, 1e-3), outside], 1)


def test_a_random_start_leaves_the_plateau_that_x_is_on() -> None:
    x, y = torch.full((6, 1, 4, 4), 0.5), torch.zeros(6, dtype=torch.int64)
    draws, threat = images(conv_net(), 6)[2], ThreatModel(inf, 0.3)
    found = {start: fab_t(Plateau(), x, y, threat, draws=draws, random_start=start) for start in (False, True)}
    assert torch.equal(found[False], x)
    assert bool((Plateau()(found[True]).argmax(1) == 1).all())


@pytest.mark.parametrize("name", ["fab", "fab_t", "deepfool", "superdeepfool", "newton_fool"])
def test_a_sample_beside_the_boundary_gets_an_example_that_rounding_cannot_undo(name: str) -> None:
    """Its margin at x is some hundred times the last digit of the logits, and a part of it less than that digit."""
    generator = torch.Generator().manual_seed(0)
    way = torch.randn(27, generator=generator)
    x = 0.25 + 0.5 * torch.rand(8, 3, 3, 3, generator=generator)
    lead = way @ (x.flatten(1).T - 0.5)
    x -= ((lead - 1e-3) / way.square().sum())[:, None, None, None] * way.reshape(1, 3, 3, 3)

    class Large(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            logits = (z - 0.5).flatten(1) @ way.to(z)
            return torch.stack([20.0 + logits, torch.full_like(logits, 20.0)], 1)

    model, y = Large(), torch.zeros(8, dtype=torch.int64)
    assert model(x).argmax(1).tolist() == y.tolist()
    x_adv = ATTACKS[name].function(model, x, y, ThreatModel(2.0, None), draws=Draws(0, torch.arange(8)))
    assert isinstance(x_adv, Tensor)
    exact = model(x_adv.double())
    assert bool((exact[:, 1] - exact[:, 0] > 5e-6).all())
    assert bool((lengths(x_adv - x, 2.0) <= 1.1 * 1e-3 / float(way.norm())).all())
