"""A step along a linearised boundary towards x that stays within a radius: the problem of Brendel et al. 2019.

Minimise |z + d - x| in a norm over d in the box with |d|_2 <= radius and value + <normal, d> <= 0 (arXiv:1907.01003,
equation 2, with an inequality: who is already beyond the boundary need not come back to it). Its Lagrangian falls into
components, so that the answer is the proximal map of the distance at z - nu * normal, cut by the box. Of its two
multipliers nu brings the boundary into reach, tau uses up the radius. Both are found by bisection, all samples at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.hyperplanes import Hyperplane
from advbench.core.norms import lengths
from advbench.types import ThreatModel

_DOUBLINGS, _HALVINGS = 8, 14  # for nu
_ROUNDING = 1e-4  # of the distance to the boundary
_TRIES, _DECADES = 9, 4.0  # for tau: from 10^-4 to 1


def step_towards(x: Tensor, z: Tensor, plane: Hyperplane, threat: ThreatModel, radius: Tensor) -> Tensor:
    """Where the step from z (A, ...) leads; radius (A,) in l2. If the boundary is out of reach: as near as allowed.

    z where the normal is zero. Components that come back to x are exactly those of x.
    """
    offset, slope = (z - x).flatten(1), plane.normal.flatten(1)
    length = lengths(slope, 2.0)
    known = (length > 0) & plane.value.isfinite()
    safe = torch.where(known, length, 1.0)
    slope, value = slope / safe[:, None], torch.where(known, plane.value / safe, 0.0)
    norm, low, high = threat.norm, threat.low, threat.high
    floor, ceiling = low - x.flatten(1), high - x.flatten(1)
    shrink, scale = _SHRINK[norm](offset, slope), lengths(offset, math.inf)

    def solved(tau: Tensor) -> tuple[Tensor, Tensor]:
        """The offset from x (A, D) with this tau (A,) and the least nu, and whether it meets the boundary (A,)."""

        def at(nu: Tensor) -> Tensor:
            pulled = shrink(offset - nu[:, None] * slope, tau[:, None])
            return torch.minimum(torch.maximum(pulled, floor), ceiling)

        def missing(nu: Tensor) -> Tensor:
            return (slope * (at(nu) - offset)).sum(1) + value

        nu = _least(missing, value.abs() + tau * scale)
        return at(nu), missing(nu) <= _ROUNDING * value.abs()

    near, (best, _) = torch.zeros_like(value), solved(torch.zeros_like(value))
    far = torch.ones_like(value)
    for _ in range(_TRIES):
        middle = 0.5 * (near + far)
        tried, meets = solved(10.0 ** (_DECADES * (middle - 1.0)))
        inside = meets & (lengths(tried - offset, 2.0) <= radius)
        best = torch.where(inside[:, None], tried, best)
        near, far = torch.where(inside, middle, near), torch.where(inside, far, middle)
    cut = (radius / lengths(best - offset, 2.0).clamp_min(torch.finfo(z.dtype).tiny))[:, None]
    offset = torch.where(cut < 1.0, offset + cut * (best - offset), best)
    there = (x.flatten(1) + offset).reshape(z.shape).clamp(low, high)
    return torch.where(known.reshape(-1, *[1] * (z.dim() - 1)), there, z)


def _least(missing: Callable[[Tensor], Tensor], guess: Tensor) -> Tensor:
    """The least nu >= 0 (A,) where the falling function `missing` is not positive; its bracket starts at `guess`."""
    tiny = torch.finfo(guess.dtype).tiny
    enough = missing(torch.zeros_like(guess)) <= 0
    low, high = torch.zeros_like(guess), guess.clamp_min(tiny)
    for _ in range(_DOUBLINGS):
        short = missing(high) > 0
        if not bool(short.any()):
            break
        low, high = torch.where(short, high, low), torch.where(short, 4.0 * high, high)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        short = missing(middle) > 0
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return torch.where(enough, 0.0, high)


def _hard(offset: Tensor, slope: Tensor) -> Shrink:
    # Counting knows no halves: components are given up whole, those first that hold the sample beyond the boundary
    # least, and those of x stay as they are.
    still = offset == 0
    rank = (-slope * offset).masked_fill(still, -math.inf).argsort(dim=1, stable=True).argsort(1)
    none, count = still.sum(1, keepdim=True), (~still).sum(1, keepdim=True)
    return lambda pulled, tau: torch.where(rank >= none + (tau * count + 0.5).floor(), pulled, 0.0)


def _soft(offset: Tensor, slope: Tensor) -> Shrink:
    largest = lengths(offset, math.inf)[:, None]
    # From 0 to infinity, since the boundary may hold the sample against any threshold.
    return lambda pulled, tau: pulled.sign() * (pulled.abs() - tau / (1.0 - tau) * largest).clamp_min(0.0)


def _scaled(offset: Tensor, slope: Tensor) -> Shrink:
    return lambda pulled, tau: pulled * (1.0 - tau)


def _cut(offset: Tensor, slope: Tensor) -> Shrink:
    largest = lengths(offset, math.inf)[:, None]

    def shrink(pulled: Tensor, tau: Tensor) -> Tensor:
        ceiling = (1.0 - tau) * largest
        return torch.minimum(torch.maximum(pulled, -ceiling), ceiling)

    return shrink


Shrink = Callable[[Tensor, Tensor], Tensor]  # (offset from x (A, D), tau (A, 1)) -> what is left of it
# The proximal maps of the distances (in linf the projection onto a smaller ball), given where the step starts: the
# offset (A, D) there and the slope (A, D) of the boundary.
_SHRINK: dict[float, Callable[[Tensor, Tensor], Shrink]] = {0.0: _hard, 1.0: _soft, 2.0: _scaled, math.inf: _cut}
