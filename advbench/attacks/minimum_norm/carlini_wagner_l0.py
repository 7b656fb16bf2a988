"""The l0 attack of arXiv:1608.04644: an l2 attack on fewer and fewer components."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from advbench.attacks.minimum_norm.constant_search import DAMPING
from advbench.core.devices import time_to_check
from advbench.core.gradients import backprop
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough
from advbench.core.objectives import Objective
from advbench.core.parameterisations import tanh_box
from advbench.core.step_rules import adam
from advbench.types import ThreatModel

# Published code of the paper: c starts at 1e-3 and doubles.
_FIRST_CONSTANT = 1e-3
_DOUBLINGS = 30
_SHARE = 0.3  # of the components left, to be given up at once; halved each time that is too many


class _Work(NamedTuple):
    """Where each sample stands: one entry per row (A, ...)."""

    z: Tensor  # tanh variables
    allowed: Tensor  # components that may change
    solution: Tensor  # tanh variables of the last success
    part: Tensor  # of each component in that success: |gradient * change|; 0 where it was not needed
    c: Tensor  # the constant of that success
    share: Tensor  # of the components of that success, to be given up now; 0: finished
    age: Tensor  # steps since `allowed` last changed


def shrink_support(
    fool: Objective, x: Tensor, threat: ThreatModel, kept: Kept, *, steps: int, searches: int, step_size: float
) -> Kept:
    """`kept` (B, ...) after at most `searches` times `steps` steps at |delta|^2 + c * hinge.

    Each success gives up the components that contribute least, by gradient times change. A set with which nothing is
    found in `steps` steps, while c doubles ten times, was too small: fewer are given up. A sample that cannot spare a
    single component leaves.
    """
    space, rule = tanh_box(threat.low, threat.high), adam(step_size, damping=DAMPING)
    keep = keep_nearest(x, threat.norm)
    rows = (~near_enough(kept, x, threat)).nonzero()[:, 0]
    work = _begin(space.encode(x[rows]))
    state = rule.init(work.z)
    for i in range(searches * steps):
        if not len(rows):
            break
        image = torch.where(work.allowed, space.decode(work.z), x[rows])
        evaluation, grad = backprop(fool, image, rows)
        kept = keep_better(kept, image, evaluation, rows, keep)
        delta, c = image - x[rows], work.c * 2.0 ** (10 * work.age // steps).clamp_max(_DOUBLINGS)
        downhill = 2.0 * delta + grad * _of(c * (evaluation.loss > 0), grad)
        downhill = downhill * (image - threat.low) * (threat.high - image)  # the slope of tanh, but for a factor
        work, fresh = _judged(work, evaluation.reached, (grad * delta).abs(), c, steps)
        # Another set of components is another problem: Adam begins again.
        downhill = torch.where(_of(fresh, delta), 0.0, downhill * work.allowed)
        state = tuple(torch.where(_of(fresh, part), 0.0, part) for part in state)
        if time_to_check(i, x):
            seen = Kept(kept.z[rows], kept.loss[rows], kept.reached[rows])
            left = (work.share > 0) & ~near_enough(seen, x[rows], threat)
            rows, downhill, work = rows[left], downhill[left], _Work(*(part[left] for part in work))
            state = tuple(part[left] for part in state)
        move, state = rule.update(downhill, state, 0.0)
        work = work._replace(z=work.z + move)
    return kept


def _begin(z: Tensor) -> _Work:
    c, share = z.new_full((len(z),), _FIRST_CONSTANT), z.new_full((len(z),), _SHARE)
    age = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    return _Work(z, torch.ones_like(z, dtype=torch.bool), z, torch.zeros_like(z), c, share, age)


def _judged(work: _Work, reached: Tensor, part: Tensor, c: Tensor, steps: int) -> tuple[_Work, Tensor]:
    """The work after a step, and which samples (A,) go on with another set of components."""
    part = torch.where(_of(reached, part), part * work.allowed, work.part)
    solution = torch.where(_of(reached, part), work.z, work.solution)
    count = (part > 0).flatten(1).sum(1)
    failed = ~reached & (work.age >= steps - 1) & (count > 0)
    # Finished: one component is enough, or the set that failed lacks a single one.
    finished = torch.where(reached, count < 2, failed & (work.share * count < 2))
    share = torch.where(finished, 0.0, torch.where(failed, 0.5 * work.share, work.share))
    dropped = (share * count).long().clamp_min(1)
    rank = part.flatten(1).argsort(dim=1, stable=True).argsort(1)  # those that were not needed come first
    fewer = (rank >= (part[0].numel() - count + dropped)[:, None]).reshape(part.shape)
    fresh = reached | failed
    now = _Work(
        torch.where(_of(fresh, part), solution, work.z),
        torch.where(_of(fresh, part), fewer, work.allowed),
        solution,
        part,
        torch.where(reached, c, work.c),
        share,
        torch.where(fresh, 0, work.age + 1),
    )
    return now, fresh


def _of(values: Tensor, like: Tensor) -> Tensor:
    """values (A,) shaped to broadcast against like (A, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
