"""Nearest points of a hyperplane that lie in the box, per sample: the step of attacks that linearise the boundary."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.core.devices import time_to_check
from advbench.core.norms import dual, lengths, per_sample


class Hyperplane(NamedTuple):
    """The points p with value + <normal, p - z> = 0: an affine function's value (A,) at z and its slope (A, ...)."""

    value: Tensor
    normal: Tensor

    def moved(self, shift: Tensor) -> Hyperplane:
        """The same hyperplane told from z + shift (A, ...)."""
        slope = (self.normal.flatten(1).double() * shift.flatten(1).double()).sum(1)
        return Hyperplane(self.value + slope.to(self.value.dtype), self.normal)


def distance(plane: Hyperplane, norm: float) -> Tensor:
    """Distance (A,) of z from the hyperplane in `norm` (1, 2, inf), the box left out; inf where the normal is zero."""
    slope = lengths(plane.normal, dual(norm))
    return torch.where(slope > 0, plane.value.abs() / slope.clamp_min(torch.finfo(slope.dtype).tiny), math.inf)


def shortest_move(plane: Hyperplane, norm: float, extra: float = 0.0) -> Tensor:
    """The shortest move in `norm` (1, 2, inf) from z onto the hyperplane, the box left out, `extra` longer.

    Nothing where the normal is zero or the value is no finite number.
    """
    length = (distance(plane, norm) + extra).nan_to_num(nan=0.0, posinf=0.0)
    way = -torch.as_tensor(per_sample(plane.value.sign().nan_to_num(nan=0.0) * length, plane.normal))
    return way * _STEEPEST[norm](plane.normal.flatten(1)).reshape(plane.normal.shape)


def onto_hyperplane(z: Tensor, plane: Hyperplane, norm: float, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Nearest point to z (A, ...) in `norm` (0, 1, 2, inf) on the hyperplane and in [low, high], where z must lie.

    Where the hyperplane misses the box: the point of the box that comes nearest to it. Where the normal is zero or the
    value is no number: z. Exact. Croce and Hein 2020, arXiv:1907.02044, section 2.2 and appendix A.
    """
    if z.numel() == 0:
        return z
    slope = plane.normal.flatten(1).double()
    # The value must fall by `gain`: each component moves against it, as far as the box leaves room.
    gain = plane.value.double().nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)[:, None]
    way = -gain.sign() * slope.sign()
    flat = z.flatten(1).double()
    room = torch.where(way > 0, high - flat, flat - low).clamp_min(0.0)
    size = _FILLS[norm](slope.abs(), room, gain.abs())
    return (flat + way * size).to(z.dtype).reshape(z.shape).clamp(low, high)


def _level(weight: Tensor, room: Tensor, gain: Tensor, speed: Tensor) -> Tensor:
    """min(t * speed, room) (A, D) with the least t at which <weight, .> is gain (A, 1); room if nothing suffices.

    Newton's method from t = 0: the sum is concave and piecewise linear in t, so the steps never go too far, and the one
    that stays on its piece is exact. Three to eight steps, where sorting the breakpoints takes as long as forty.
    """
    rate, t = weight * speed, torch.zeros_like(gain)
    before = torch.full_like(gain, -1.0, dtype=torch.int64)
    for step in itertools.count(1):
        size = t * speed
        moving = size < room
        count = moving.sum(1, keepdim=True)
        if time_to_check(step, room) and bool((count == before).all()):
            break
        before = count
        missing = gain - torch.linalg.vecdot(weight, torch.minimum(size, room))[:, None]
        slope = torch.linalg.vecdot(rate, moving.to(rate.dtype))[:, None]
        t = torch.where(missing > 0, t + missing / slope, t)  # infinite where nothing can move any more
    return torch.minimum(size, room)


def _linf(weight: Tensor, room: Tensor, gain: Tensor) -> Tensor:
    return _level(weight, room, gain, torch.ones_like(weight))


def _l2(weight: Tensor, room: Tensor, gain: Tensor) -> Tensor:
    # A component of weight 0 stays where it is whatever its speed.
    return _level(weight, room, gain, torch.where(weight > 0, weight, 1.0))


def _l1(weight: Tensor, room: Tensor, gain: Tensor) -> Tensor:
    return _whole(weight, room, gain, first=weight)


def _l0(weight: Tensor, room: Tensor, gain: Tensor) -> Tensor:
    return _whole(weight, room, gain, first=weight * room)


def _whole(weight: Tensor, room: Tensor, gain: Tensor, *, first: Tensor) -> Tensor:
    """Whole components, the largest of `first` (A, D) at first, and a part of the last."""
    order = first.argsort(dim=1, descending=True, stable=True)
    steep, space = weight.gather(1, order), room.gather(1, order)
    full = steep * space
    missing = (gain - full.cumsum(1) + full).clamp_min(0.0)  # what those before a component leave to it
    size = torch.minimum(missing / steep.clamp_min(torch.finfo(steep.dtype).tiny), space)
    return torch.zeros_like(room).scatter(1, order, size)


_FILLS: dict[float, Callable[[Tensor, Tensor, Tensor], Tensor]] = {0.0: _l0, 1.0: _l1, 2.0: _l2, math.inf: _linf}


def _largest(flat: Tensor) -> Tensor:
    at = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, at, flat.gather(1, at).sign())


def _unit(flat: Tensor) -> Tensor:
    return flat / lengths(flat, 2.0).clamp_min(torch.finfo(flat.dtype).tiny)[:, None]


# The direction of length 1 in each norm along which an affine function of this slope (A, D) rises fastest.
_STEEPEST: dict[float, Callable[[Tensor], Tensor]] = {1.0: _largest, 2.0: _unit, math.inf: torch.sign}
