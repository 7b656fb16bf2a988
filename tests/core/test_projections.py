"""Projections: inside stays, outside comes in, idempotent, and no point of the set is nearer."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from advbench.bench.judge import inside as judged_inside
from advbench.core.norms import lengths, per_sample
from advbench.core.projections import (
    BALLS,
    identity,
    into_box,
    project_l0,
    project_l0_box,
    project_l1,
    project_l1_box,
    within,
)
from advbench.types import ThreatModel
from tests.strategies import deltas, deltas_like, images, norms, radii, threats

ULPS = 4e-7  # relative room for the rounding of float32 sums


def inside(delta: Tensor, norm: float, eps: float | Tensor) -> Tensor:
    size = lengths(delta.double(), norm)
    return size <= torch.as_tensor(eps) * (1 + ULPS) + 1e-30


@given(deltas(), norms(), radii())
def test_projection_lands_inside(delta: Tensor, norm: float, eps: float) -> None:
    assert bool(inside(BALLS[norm](delta, eps), norm, eps).all())


@given(deltas(), norms(), radii())
def test_projection_leaves_inside_points_alone_bit_for_bit(delta: Tensor, norm: float, eps: float) -> None:
    stays = lengths(delta.double(), norm) <= eps * (1 - ULPS)
    assert torch.equal(BALLS[norm](delta, eps)[stays], delta[stays])


@given(deltas(), norms())
def test_a_large_ball_holds_everything(delta: Tensor, norm: float) -> None:
    assert torch.equal(BALLS[norm](delta, 1e9), delta)


@given(deltas(), norms(), radii())
def test_projection_is_idempotent(delta: Tensor, norm: float, eps: float) -> None:
    once = BALLS[norm](delta, eps)
    torch.testing.assert_close(BALLS[norm](once, eps), once, rtol=2e-6, atol=1e-30)


@given(deltas(), norms())
def test_a_ball_of_radius_zero_is_a_point(delta: Tensor, norm: float) -> None:
    assert not BALLS[norm](delta, 0.0).any()


@given(st.data(), norms(1.0, 2.0, math.inf), radii())
def test_no_point_of_the_ball_is_nearer(data: st.DataObject, norm: float, eps: float) -> None:
    """Variational inequality: <delta - p, q - p> <= 0 for every q of a convex set makes p the nearest point."""
    delta = data.draw(deltas(dtype=torch.float64))
    p = BALLS[norm](delta, eps)
    q = data.draw(deltas_like(delta))
    q = q * (eps / lengths(q, norm).clamp_min(1e-12)).clamp_max(1.0).reshape(-1, 1, 1, 1)
    slack = ((delta - p) * (q - p)).flatten(1).sum(1)
    scale = lengths(delta, 2.0) * (lengths(q, 2.0) + lengths(p, 2.0)) + 1e-30
    assert bool((slack <= 1e-9 * scale).all())


@given(deltas(dtype=torch.float64), radii())
def test_l0_projection_is_the_best_choice_of_components(delta: Tensor, eps: float) -> None:
    flat = delta[:1].flatten(1)[:, :7]
    count = min(int(eps), flat.shape[1])
    distance = min(
        float(flat[0, list(set(range(flat.shape[1])) - set(kept))].norm())
        for kept in combinations(range(flat.shape[1]), count)
    )
    assert float((flat - project_l0(flat, eps)).norm()) == pytest.approx(distance)


@given(st.data(), norms())
def test_each_sample_has_its_own_radius(data: st.DataObject, norm: float) -> None:
    delta = data.draw(deltas(batch=st.just(3)))
    eps = torch.tensor(data.draw(st.lists(radii(), min_size=3, max_size=3)))
    alone = [BALLS[norm](delta[i : i + 1], float(eps[i])) for i in range(3)]
    torch.testing.assert_close(BALLS[norm](delta, eps), torch.cat(alone), rtol=1e-6, atol=0)


@given(norms(), st.booleans())
def test_an_empty_batch_stays_empty(norm: float, tensor: bool) -> None:
    eps = torch.zeros(0) if tensor else 0.5
    assert BALLS[norm](torch.zeros(0, 3, 2, 2), eps).shape == (0, 3, 2, 2)
    assert (
        within(ThreatModel(norm, 0.5), torch.zeros(0, 1, 2, 2))(torch.zeros(0, 1, 2, 2), torch.arange(0)).shape[0] == 0
    )


def bisected(delta: Tensor, room: Tensor, eps: float) -> Tensor:
    """min(max(|delta| - t, 0), room) with the least t >= 0 that fits into the l1 ball, by 200 halvings in float64."""
    size, cap = delta.flatten(1).double().abs(), room.flatten(1).double()
    low, high = torch.zeros(len(size), 1).double(), size.amax(1, keepdim=True)
    shrunk = size.minimum(cap)
    for _ in range(200):
        middle = 0.5 * (low + high)
        fits = (size - middle).clamp_min(0.0).minimum(cap).sum(1, keepdim=True) <= eps
        low, high = torch.where(fits, low, middle), torch.where(fits, middle, high)
    threshold = torch.where(shrunk.sum(1, keepdim=True) <= eps, 0.0, high)
    return (delta.sign().flatten(1) * (size - threshold).clamp_min(0.0).minimum(cap)).reshape(delta.shape)


@given(deltas(dtype=torch.float64), radii())
def test_l1_projection_equals_bisection(delta: Tensor, eps: float) -> None:
    expected = bisected(delta, torch.full_like(delta, math.inf), eps)
    torch.testing.assert_close(
        project_l1(delta, eps), expected, rtol=1e-9, atol=1e-9 * max(1.0, float(delta.abs().max()))
    )


@given(st.data(), radii())
def test_l1_projection_with_the_box_equals_bisection(data: st.DataObject, eps: float) -> None:
    x = data.draw(images()).double()
    delta = data.draw(deltas_like(x))
    room = torch.where(delta > 0, 1.0 - x, x)
    scale = max(1.0, float(delta.abs().max()))
    torch.testing.assert_close(project_l1_box(delta, x, eps), bisected(delta, room, eps), rtol=1e-9, atol=1e-9 * scale)


@given(st.integers(0, 20), st.floats(0.05, 2.0))
def test_l1_projection_with_the_box_is_the_nearest_point(seed: int, eps: float) -> None:
    """Against a solver that knows only the problem: delta = p - n with p, n >= 0, sum(p + n) <= eps, and the box."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 4, generator=generator, dtype=torch.float64)
    delta = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    target, free = delta[0].numpy(), x[0].numpy()
    solved = optimize.minimize(
        lambda v: 0.5 * ((v[:4] - v[4:] - target) ** 2).sum(),
        x0=[0.0] * 8,
        bounds=[*((0.0, 1.0 - each) for each in free), *((0.0, each) for each in free)],
        constraints={"type": "ineq", "fun": lambda v: eps - v.sum()},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    found = project_l1_box(delta, x, eps)[0].numpy()
    assert found == pytest.approx(solved.x[:4] - solved.x[4:], abs=1e-5)


@given(st.data(), radii())
def test_l0_projection_with_the_box_is_the_best_choice_of_components(data: st.DataObject, eps: float) -> None:
    x = data.draw(images(batch=st.just(1))).flatten(1)[:, :7].double()
    delta = data.draw(deltas_like(x))
    found = project_l0_box(delta, x, eps)
    assert bool((inside(found, 0.0, math.floor(eps)) & ((x + found) >= 0).all() & ((x + found) <= 1).all()).all())
    best, clipped = math.inf, (x + delta).clamp(0, 1) - x
    for kept in combinations(range(x.shape[1]), min(int(eps), x.shape[1])):
        candidate = torch.zeros_like(x)
        candidate[:, kept] = clipped[:, kept]
        best = min(best, float((candidate - delta).norm()))
    assert float((found - delta).norm()) == pytest.approx(best)


@given(st.data(), threats())
def test_within_keeps_ball_and_box(data: st.DataObject, threat: ThreatModel) -> None:
    x = data.draw(images())
    z = x + data.draw(deltas_like(x))
    found = within(threat, x)(z, torch.arange(len(x)))
    assert threat.eps is not None
    moved = lengths(found.double() - x.double(), threat.norm)
    # x + delta is rounded to float32 in each component: its error stays below one part in 2**24 of 1.
    rounding = {0.0: 0.0, 1.0: x[0].numel(), 2.0: x[0].numel() ** 0.5, math.inf: 1.0}[threat.norm] * 2.0**-24
    assert bool((moved <= threat.eps * (1 + ULPS) + rounding).all())
    assert bool(((found >= 0) & (found <= 1)).all())
    torch.testing.assert_close(within(threat, x)(found, torch.arange(len(x))), found, rtol=0, atol=1e-6)


@given(st.data(), threats())
def test_within_leaves_admissible_points_where_they_are(data: st.DataObject, threat: ThreatModel) -> None:
    x = data.draw(images())
    rows, project = torch.arange(len(x)), within(threat, x)
    assert torch.equal(project(x, rows), x)
    inner = project(x + data.draw(deltas_like(x)), rows)
    inner = x + (inner - x) * (0.9 if threat.norm else 1.0)
    torch.testing.assert_close(project(inner, rows), inner, rtol=0, atol=3e-7)


@given(st.data(), threats())
def test_within_uses_the_centres_of_its_rows(data: st.DataObject, threat: ThreatModel) -> None:
    x = data.draw(images(batch=st.just(4)))
    z = x + data.draw(deltas_like(x))
    rows = torch.tensor([3, 1])
    whole = within(threat, x)(z, torch.arange(4))
    torch.testing.assert_close(within(threat, x)(z[rows], rows), whole[rows], rtol=0, atol=1e-7)


@given(deltas(), norms())
def test_without_a_radius_only_the_box_holds(z: Tensor, norm: float) -> None:
    threat = ThreatModel(norm, None, low=-1.0, high=2.0)
    rows = torch.arange(len(z))
    assert torch.equal(within(threat, torch.zeros_like(z))(z, rows), z.clamp(-1.0, 2.0))
    assert torch.equal(into_box(-1.0, 2.0)(z, rows), z.clamp(-1.0, 2.0))
    assert identity(z, rows) is z


@given(st.data(), threats())
def test_arguments_are_not_written_to(data: st.DataObject, threat: ThreatModel) -> None:
    x = data.draw(images())
    z = x + data.draw(deltas_like(x))
    copies = x.clone(), z.clone()
    within(threat, x)(z, torch.arange(len(x)))
    assert torch.equal(x, copies[0])
    assert torch.equal(z, copies[1])


def test_an_example_to_check_by_hand() -> None:
    """(3, 1) to the l1 ball of 2: both lose 1. To the l2 ball of 5 it stays. Two of three to the l0 ball of 2."""
    assert project_l1(torch.tensor([[3.0, 1.0]]), 2.0).tolist() == [[2.0, 0.0]]
    assert BALLS[2.0](torch.tensor([[3.0, 4.0]]), 2.5).tolist() == [[1.5, 2.0]]
    assert BALLS[math.inf](torch.tensor([[3.0, -0.25]]), 0.5).tolist() == [[0.5, -0.25]]
    assert project_l0(torch.tensor([[3.0, -4.0, 1.0]]), 2.9).tolist() == [[3.0, -4.0, 0.0]]
    # With room for 0.5 only, the first component cannot use its share: the second keeps what is left of 2.
    assert project_l1_box(torch.tensor([[3.0, 1.8]]), torch.tensor([[0.5, 0.0]]), 1.25).tolist() == [[0.5, 0.75]]


@pytest.mark.parametrize("norm", [1.0, 2.0])
@given(seed=st.integers(0, 2**16), eps=st.floats(0.05, 4.0), push=st.floats(1e-6, 1e-4))
def test_thousands_of_components_come_back_by_less_than_a_digit_each(
    norm: float, seed: int, eps: float, push: float
) -> None:
    """One component leaves; what each of the others owes for it, rounded to the nearest number, would be nothing."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 3, 48, 48, generator=generator)
    x = 0.25 + 0.5 * torch.rand(noise.shape, generator=generator)  # the box holds nothing back
    threat, rows = ThreatModel(norm, eps), torch.arange(2)
    project = within(threat, x)
    z = project(x + noise * per_sample(eps / lengths(noise, norm), noise), rows)
    for pixel in range(3):
        z[:, 0, 0, pixel] += push * (z - x)[:, 0, 0, pixel].sign()
        z = project(z, rows)
        assert bool(judged_inside(lengths(z.double() - x.double(), norm), threat, size=x[0].numel()).all())
    assert bool((lengths(z - x, norm) >= 0.98 * eps).all())  # no shorter than the digits make it
