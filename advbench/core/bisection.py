"""Bisection towards a decision boundary, one question per halving, each sample until its own result is fine enough."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.norms import lengths, per_sample

Ask = Callable[[Tensor, Tensor], Tensor]  # (z (A, ...), rows (A,)) -> (A,) bool: has z reached the goal?
# (t (M,), at (M,)) -> points (M, ...): how far along their ways the samples at positions `at` of the caller are.
Way = Callable[[Tensor, Tensor], Tensor]


def bisect(ask: Ask, way: Way, rows: Tensor, *, low: Tensor, high: Tensor, relative: float) -> Tensor:
    """The least t (A,) in (low, high] whose point on the way of `rows` (A,) has reached the goal, to relative * t.

    high (A,) is taken to have reached it, low (A,) not to have. Where the goal is left and reached again in between, it
    is one of the crossings. Only samples that are not yet fine enough are asked; one also rests when no number lies
    between its two ends.
    """
    low, high = low.clone(), high.clone()
    todo = torch.arange(len(rows), device=rows.device)
    while True:
        middle = (low + high) / 2
        coarse = (high - low > relative * high) & (middle > low) & (middle < high)
        todo = todo[coarse[todo]]
        if not len(todo):
            return high
        hit = ask(way(middle[todo], todo), rows[todo])
        high[todo] = torch.where(hit, middle[todo], high[todo])
        low[todo] = torch.where(hit, low[todo], middle[todo])


def close_in(ask: Ask, way: Way, rows: Tensor, *, high: Tensor, relative: float) -> Tensor:
    """As `bisect` from 0, but cheaper where the crossing lies near high (A,): leaps inwards that double come first."""
    low, first = torch.zeros_like(high), high
    todo, leap = torch.arange(len(rows), device=rows.device), relative
    while len(todo) and leap < 0.5:
        t = (1.0 - leap) * first[todo]
        hit = ask(way(t, todo), rows[todo])
        high = high.index_copy(0, todo, torch.where(hit, t, high[todo]))
        low = low.index_copy(0, todo, torch.where(hit, low[todo], t))
        todo, leap = todo[hit], 2.0 * leap + relative
    return bisect(ask, way, rows, low=low, high=high, relative=relative)


def way_towards(z: Tensor, x: Tensor, norm: float) -> Way:
    """The way from x (A, ...) to z (A, ...) by distance in `norm`: t is the distance from x of the point there.

    l1 and l2: along the segment. linf: z with every component brought to within t of x, so that only the largest
    components change.
    """
    if norm == math.inf:
        return lambda t, at: torch.minimum(torch.maximum(z[at], x[at] - per_sample(t, x)), x[at] + per_sample(t, x))
    whole = lengths(z - x, norm).clamp_min(torch.finfo(x.dtype).tiny)  # (A,)
    return lambda t, at: torch.lerp(x[at], z[at], torch.as_tensor(per_sample(t / whole[at], x)).expand_as(x[at]))
