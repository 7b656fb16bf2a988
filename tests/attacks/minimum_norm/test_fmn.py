"""fmn is algorithm 1 of its paper with the two differences that it states, and is not stopped by the box."""

from __future__ import annotations

import math
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.minimum_norm.fmn import fmn
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

NORMS = (0.0, 1.0, 2.0, inf)
DUAL = {1.0: inf, 2.0: 2.0, inf: 1.0}


def one_sample(model: nn.Module, x: Tensor, label: int, norm: float, steps: int) -> Tensor:
    """Algorithm 1 for one image (1, ...), with the whole radii of l0 and the stated help; projections written out."""
    z, eps, best, nearest = x, 1.0 if norm == 0 else inf, x, inf
    for k in range(steps):
        leaf = z.clone().requires_grad_(True)
        logits = model(leaf)[0]
        margin = logits[label] - torch.cat([logits[:label], logits[label + 1 :]]).max()
        (g,) = torch.autograd.grad(margin, leaf)
        fraction = (1 + math.cos(math.pi * k / steps)) / 2
        size, share = 0.01 + 0.99 * fraction, 0.001 + 0.049 * fraction
        length, hit, stuck = float(lengths(z - x, norm)), float(margin.detach()) < 0, k >= 0.1 * steps
        if hit and length < nearest:
            best, nearest = z, length
        stuck = stuck and nearest == inf
        if stuck or norm in (1, 2):
            g = g.masked_fill(((z <= 0) & (g > 0)) | ((z >= 1) & (g < 0)), 0.0)
        if norm == 0:
            smaller = min(eps - 1, math.floor(eps * (1 - share)), nearest)
            eps = max(smaller, 0) if hit else max(eps + 1, math.floor(eps * (1 + share)))
        elif hit:
            eps = min(eps * (1 - share), nearest)
        else:
            first = length + abs(float(margin.detach())) / float(g.flatten().norm(DUAL[norm]))
            eps = eps * (1 + share) if nearest < inf else first * (1 + share * stuck)
        delta = z - x - size * g / g.norm()
        if norm and nearest == inf and (stuck or norm in (1, 2)):
            delta = delta * max(1.0, eps / float(lengths(delta, norm)))
        z = (x + into_ball(delta, norm, eps)).clamp(0.0, 1.0)
    return best


def into_ball(delta: Tensor, norm: float, eps: float) -> Tensor:
    size = delta.abs().flatten()
    if norm == inf:
        return delta.clamp(-eps, eps)
    if norm == 2:
        return delta * min(1.0, eps / float(delta.norm()))
    if norm == 0:
        least = size.sort(descending=True).values[: int(eps)].min() if eps >= 1 else inf
        return delta * (delta.abs() >= least)
    low, high = 0.0, float(size.max())
    for _ in range(200):  # the threshold of the l1 ball by bisection
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float((size - middle).clamp_min(0).sum()) > eps else (low, middle)
    return delta if float(size.sum()) <= eps else delta.sign() * (delta.abs() - high).clamp_min(0)


@pytest.mark.parametrize("norm", NORMS)
def test_it_equals_the_paper_step_by_step(norm: float) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 8)
    steps = 9
    expected = torch.cat([one_sample(model, x[i : i + 1].double(), int(y[i]), norm, steps) for i in range(8)])
    found = fmn(model, x.double(), y, ThreatModel(norm, None), draws=draws, steps=steps)
    # Where the net is linear the first radius ends on the boundary itself, and rounding decides which side it is.
    assert int(((found - expected).flatten(1).abs().amax(1) < 1e-9).sum()) >= 5
    assert_close(lengths(found - x, norm), lengths(expected - x, norm), rtol=0.01, atol=0.0)
    assert bool((model(found).argmax(1) != y).all())


@settings(max_examples=12)
@given(shapes(largest=3), seeds(), st.sampled_from(NORMS))
def test_it_finds_the_nearest_point_of_a_hyperplane(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    x_adv = fmn(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws, steps=40)
    distance = lengths((x_adv - problem.x).double(), norm)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((distance <= 1.01 * problem.distance(norm) + 1e-6).all())


@pytest.mark.parametrize("norm", [1.0, 2.0, inf])
def test_the_box_does_not_stop_it(norm: float) -> None:
    # Black pixels of large weight want to become blacker: the gradient points out of the box nearly everywhere.
    weight = torch.tensor([10.0, 10.0, 10.0, -1.0])
    model = Linear(torch.stack([weight, -weight]), torch.tensor([0.5, -0.5]))
    x = torch.tensor([0.0, 0.0, 0.0, 0.1]).reshape(1, 1, 2, 2)
    y = model(x).argmax(1)
    # Only the last pixel helps: the margin 2 (0.5 - z) is 0 at z = 0.5, a way of 0.4 in each norm.
    x_adv = fmn(model, x, y, ThreatModel(norm, None), draws=Draws(0, torch.arange(1)))
    assert float(lengths(x_adv - x, norm)) == pytest.approx(0.4, abs=0.002)


@given(st.sampled_from(NORMS))
def test_passes_are_spent_as_declared(norm: float) -> None:
    x, y, draws = images(conv_net(), 4)
    y[:2] = (y[:2] + 1) % 4  # wrong from the start
    watch = Counting(conv_net(), 4)
    x_adv = fmn(watch, x, y, ThreatModel(norm, None), draws=draws, steps=7)
    assert watch.passes.tolist() == [1, 1, 8, 8]
    assert torch.equal(x_adv[:2], x[:2])


def test_a_radius_lets_samples_leave() -> None:
    x, y, draws = images(conv_net(), 8)
    watch = Counting(conv_net(), 8)
    x_adv = fmn(watch, x, y, ThreatModel(inf, 0.3), draws=draws, steps=30)
    fooled = conv_net()(x_adv).argmax(1) != y
    assert bool(fooled.all())
    assert bool((watch.passes < 31).all())
    assert float((x_adv - x).abs().max()) <= 0.3 + 1e-6


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    for wrong in ({"steps": 0}, {"gamma": 0.0}, {"step_size": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            fmn(model, x, y, ThreatModel(2, None), draws=draws, **wrong)
