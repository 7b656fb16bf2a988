"""Nearest points of balls, alone and together with the box. Euclidean projections, per sample."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.devices import time_to_check
from advbench.core.norms import lengths, per_sample
from advbench.types import ThreatModel

Project = Callable[[Tensor, Tensor], Tensor]  # (z (A, ...), rows (A,)) -> admissible z


def identity(z: Tensor, rows: Tensor) -> Tensor:
    """No constraint."""
    return z


def into_box(low: float = 0.0, high: float = 1.0) -> Project:
    """Into [low, high], componentwise."""
    return lambda z, rows: z.clamp(low, high)


def project_linf(delta: Tensor, eps: float | Tensor) -> Tensor:
    """Nearest point to delta (B, ...) with every component in [-eps, eps]; eps: a number or (B,)."""
    radius = torch.as_tensor(per_sample(eps, delta), dtype=delta.dtype, device=delta.device)
    return torch.minimum(torch.maximum(delta, -radius), radius)


def project_l2(delta: Tensor, eps: float | Tensor) -> Tensor:
    """Nearest point to delta (B, ...) with Euclidean length at most eps (a number or (B,))."""
    length = lengths(delta, 2.0)
    # The factor is clipped, not the result: a point inside the ball must come back as it is.
    factor = (eps / length.clamp_min(torch.finfo(delta.dtype).tiny)).clamp_max(1.0)  # (B,)
    return delta * per_sample(factor, delta)


def project_l1(delta: Tensor, eps: float | Tensor) -> Tensor:
    """Nearest point to delta (B, ...) with l1 norm at most eps (a number or (B,)).

    Exact. Duchi et al. 2008, figure 1 (doi:10.1145/1390156.1390191).
    """
    room = torch.full_like(delta, math.inf)
    return _shrink(delta, room, eps)


def project_l1_box(delta: Tensor, x: Tensor, eps: float | Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Nearest point to delta (B, ...) with l1 norm at most eps and x + delta in [low, high]; x must lie in the box.

    Exact: each component is min(max(|delta| - t, 0), room) with one threshold t per sample. Croce and Hein 2021,
    arXiv:2103.01208, section 3.
    """
    room = torch.where(delta > 0, high - x, x - low)
    return _shrink(delta, room, eps)


def project_l0(delta: Tensor, eps: float | Tensor) -> Tensor:
    """Nearest point to delta (B, ...) with at most floor(eps) components that are not zero."""
    return _keep_largest(delta, delta.abs(), eps)


def project_l0_box(delta: Tensor, x: Tensor, eps: float | Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Nearest point to delta with at most floor(eps) components not zero and x + delta in [low, high]."""
    clipped = (x + delta).clamp(low, high) - x
    gain = delta.square() - (delta - clipped).square()  # what keeping the component saves
    return _keep_largest(clipped, gain, eps)


BALLS: dict[float, Callable[[Tensor, float | Tensor], Tensor]] = {
    0.0: project_l0,
    1.0: project_l1,
    2.0: project_l2,
    math.inf: project_linf,
}


def within(threat: ThreatModel, x: Tensor) -> Project:
    """Into the threat's ball around x (B, ...) and its box; only into the box when the threat has no radius."""
    low, high, eps = threat.low, threat.high, threat.eps
    if eps is None:
        return into_box(low, high)
    if threat.norm == math.inf:
        floor, ceiling = (x - eps).clamp_min(low), (x + eps).clamp_max(high)
        return lambda z, rows: torch.minimum(torch.maximum(z, floor[rows]), ceiling[rows])

    def project(z: Tensor, rows: Tensor) -> Tensor:
        centre = x[rows]
        if threat.norm == 2.0:
            # Clamping moves each component towards x, so the result cannot leave the ball.
            return _inwards(centre, project_l2(z - centre, eps)).clamp(low, high)
        joint = project_l1_box if threat.norm == 1.0 else project_l0_box
        return _inwards(centre, joint(z - centre, centre, eps, low, high)).clamp(low, high)

    return project


def _inwards(x: Tensor, delta: Tensor) -> Tensor:
    """x + delta, rounded towards x: a projection may take less than half a digit from each of thousands of components.

    Rounded to the nearest number, they would come back as they were, and their sum stay outside the ball.
    """
    z = x + delta
    return torch.where((z - x).abs() > delta.abs(), z.nextafter(x), z)


def _shrink(delta: Tensor, room: Tensor, eps: float | Tensor) -> Tensor:
    """sign(delta) * min(max(|delta| - t, 0), room), with the least t >= 0 that brings the l1 norm down to eps.

    As t grows, a component starts to shrink at |delta| - room and is gone at |delta|: the norm is piecewise linear in
    t. Newton's method, kept between two bounds, is exact once a step stays on its piece; it takes four to ten, a fifth
    of the time of sorting the ends of the pieces.
    """
    size, cap = delta.flatten(1).abs().double(), room.flatten(1).double()
    if size.numel() == 0:
        return delta
    radius = torch.as_tensor(eps, dtype=torch.float64, device=delta.device).reshape(-1, 1).expand(len(size), 1)
    begin = (size - cap).clamp_min(0.0)
    low, high = torch.zeros_like(radius), size.amax(1, keepdim=True)
    t = torch.where(radius > 0, low, high)
    piece, found = torch.full_like(radius, -1.0).repeat(1, 2), torch.zeros_like(radius, dtype=torch.bool)
    newton = found
    for step in itertools.count(1):
        shrunk = torch.minimum((size - t).clamp_min(0.0), cap)
        over = shrunk.sum(1, keepdim=True) - radius
        here = torch.cat([(part <= t).sum(1, keepdim=True) for part in (begin, size)], 1)  # (B, 2) begun, gone
        onward = t + over / (here[:, :1] - here[:, 1:])
        done = found | (newton & (here == piece).all(1, keepdim=True)) | (onward == t) | ~over.isfinite()
        done |= (over == 0) | ((t == 0) & (over < 0))
        if time_to_check(step, delta) and bool(done.all()):
            break
        low, high = torch.where(over > 0, t, low), torch.where(over > 0, high, t)
        piece, newton, middle = here, (onward > low) & (onward < high), (low + high) / 2
        found = done | ~newton & ((middle <= low) | (middle >= high))  # no number lies between the bounds
        t = torch.where(found, t, torch.where(newton, onward, middle))
    return torch.sign(delta) * shrunk.to(delta.dtype).reshape(delta.shape)


def _keep_largest(delta: Tensor, score: Tensor, eps: float | Tensor) -> Tensor:
    count = torch.as_tensor(eps, device=delta.device).floor().long().reshape(-1, 1)
    rank = score.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1)
    return torch.where((rank < count).reshape(delta.shape), delta, torch.zeros_like(delta))
