"""A gradient estimated from scores: differences of the loss along random directions. Not an attack."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.gradients import Gradient, evaluate
from advbench.core.objectives import Objective
from advbench.types import Evaluation, ThreatModel

# (rows (A,), step) -> directions (A, pairs, D)
Directions = Callable[[Tensor, int], Tensor]

_PROBES = 2**22  # components of the points that are made at a time


def antithetic(directions: Directions, size: float, pairs: int, threat: ThreatModel) -> Gradient:
    """The mean over `pairs` directions v of (f(z + size v) - f(z - size v)) / (2 size) times v; f(z) itself as well.

    1 + 2 * pairs queries of a sample, 1 of one that has reached its goal (its gradient is 0: it is about to leave).
    Probes are clipped to the box, so that every query is an image: a component at its end is moved one way only, which
    halves its share and does not turn it. What is not finite counts as no difference.
    """
    calls = 0

    def gradient(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
        nonlocal calls
        evaluation = evaluate(objective, z, rows)
        grad = torch.zeros_like(z)
        at_once = max(1, _PROBES // (2 * pairs * max(1, math.prod(z.shape[1:]))))
        at_work = (~evaluation.reached).nonzero()[:, 0]
        for some in torch.split(at_work, at_once) if len(at_work) else ():
            mine = rows[some]
            v = directions(mine, calls).to(z.dtype).reshape(len(some), pairs, *z.shape[1:])
            centre = z[some][:, None]
            probes = torch.stack([centre + size * v, centre - size * v], 2).clamp(threat.low, threat.high)
            losses = evaluate(objective, probes.flatten(0, 2), mine.repeat_interleave(2 * pairs)).loss
            up, down = losses.reshape(len(some), pairs, 2).unbind(2)
            slope = ((up - down) / (2.0 * size)).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)  # (A, pairs)
            grad[some] = torch.einsum("ap,ap...->a...", slope.to(z.dtype), v) / pairs
        calls += 1
        return evaluation, grad

    return gradient
