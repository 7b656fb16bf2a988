"""The linf attack of arXiv:1608.04644: what sticks out above a ceiling tau is penalised, and tau comes down."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from advbench.attacks.minimum_norm.constant_search import DAMPING, STALLED
from advbench.core.devices import time_to_check
from advbench.core.gradients import backprop
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import Objective
from advbench.core.parameterisations import tanh_box
from advbench.core.step_rules import adam
from advbench.types import ThreatModel

# The paper lets tau fall by 0.9; once no constant succeeds, that factor becomes its own root, up to this one.
_FACTOR, _LAST_FACTOR = 0.9, 0.99
# c doubles from the first to the last. The paper's code starts at 1e-5: with a hinge that weighs nothing nothing moves.
_FIRST_CONSTANT, _LAST_CONSTANT = 0.1, 20.0
_SETTLED = 1e-4  # of c: what may be left of the loss when the sample lies under its ceiling
_LONGEST = 0.1  # of tau: a step that is long beside the ceiling never comes to rest below it


class _Work(NamedTuple):
    """Where each sample stands: one entry per row (A, ...)."""

    z: Tensor  # tanh variables
    c: Tensor
    tau: Tensor  # the ceiling
    factor: Tensor  # next ceiling / this one
    age: Tensor  # steps at this pair of c and tau
    before: Tensor  # the loss when it was last checked
    start: Tensor  # distance of the nearest example when c or tau last changed


def lower_ceiling(
    fool: Objective, x: Tensor, threat: ThreatModel, kept: Kept, *, steps: int, searches: int, step_size: float
) -> Kept:
    """`kept` (B, ...) after at most `searches` times `steps` steps at sum(max(|delta| - tau, 0)) + c * hinge.

    A pair of tau and c is left when the sample lies under its ceiling, when a tenth of `steps` gains nothing, or after
    `steps`. If it has brought a nearer example tau comes down, else c doubles.
    """
    space, rule = tanh_box(threat.low, threat.high), adam(step_size, damping=DAMPING)
    keep, width = keep_nearest(x, threat.norm), threat.high - threat.low
    rows = (~near_enough(kept, x, threat)).nonzero()[:, 0]
    work = _begin(space.encode(x[rows]), width)
    state = rule.init(work.z)
    for i in range(searches * steps):
        if not len(rows):
            break
        image = space.decode(work.z)
        evaluation, grad = backprop(fool, image, rows)
        kept = keep_better(kept, image, evaluation, rows, keep)
        delta, gap = image - x[rows], evaluation.loss.clamp_min(0.0)
        above = (delta.abs() - per_sample(work.tau, delta)).clamp_min(0.0)
        downhill = delta.sign() * (above > 0) + grad * per_sample(work.c * (gap > 0), grad)
        downhill = downhill * (image - threat.low) * (threat.high - image)  # the slope of tanh, but for a factor
        seen = Kept(kept.z[rows], kept.loss[rows], kept.reached[rows])
        nearest = torch.where(seen.reached, lengths(seen.z - x[rows], threat.norm), torch.inf)
        work = _judged(work, above.flatten(1).sum(1) + work.c * gap, evaluation.reached, nearest, steps)
        if time_to_check(i, x):
            left = ~near_enough(seen, x[rows], threat) & (work.factor < _LAST_FACTOR)
            rows, downhill, work = rows[left], downhill[left], _Work(*(part[left] for part in work))
            state = tuple(part[left] for part in state)
        move, state = rule.update(downhill, state, 0.0)
        pace = (_LONGEST * work.tau / (width * step_size)).clamp_max(1.0)
        work = work._replace(z=work.z + move * per_sample(pace, move))
    return kept


def _begin(z: Tensor, width: float) -> _Work:
    def full(value: float) -> Tensor:
        return z.new_full((len(z),), value)

    return _Work(z, full(_FIRST_CONSTANT), full(width), full(_FACTOR), full(0.0), full(torch.inf), full(torch.inf))


def _judged(work: _Work, loss: Tensor, reached: Tensor, nearest: Tensor, steps: int) -> _Work:
    """The work after a step with this loss (A,); nearest (A,) is the distance of the nearest example so far."""
    checked = (work.age > 0) & (work.age % max(1, steps // 10) == 0)
    stalled = checked & (loss > STALLED * work.before)
    over = (reached & (loss < _SETTLED * work.c)) | stalled | (work.age >= steps)
    nearer = nearest < work.start
    c = torch.where(over & ~nearer, 2.0 * work.c, work.c)
    exhausted = c >= _LAST_CONSTANT
    factor = torch.where(exhausted, work.factor.sqrt(), work.factor)
    # A failed ceiling was too low: the next one starts from the example.
    lower = factor * torch.where(exhausted, nearest, torch.minimum(nearest, work.tau))
    return _Work(
        work.z,
        torch.where(exhausted, _FIRST_CONSTANT, c),
        torch.where(((over & nearer) | exhausted) & nearest.isfinite(), lower, work.tau),
        factor,
        torch.where(over, 0.0, work.age + 1.0),
        torch.where(over, torch.inf, torch.where(checked, loss, work.before)),
        torch.where(over, nearest, work.start),
    )
