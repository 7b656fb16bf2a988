"""The loop of minimum-norm attacks that walk: look, keep the nearest example, move every sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.core.devices import time_to_check
from advbench.core.gradients import backprop, evaluate
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough, nearest_found, nothing_kept
from advbench.core.norms import lengths
from advbench.core.objectives import Objective
from advbench.core.step_rules import State
from advbench.types import Evaluation, ThreatModel


class Sight(NamedTuple):
    """What an attack knows of the samples `rows` (A,) still at work when it moves them."""

    z: Tensor  # (A, ...) where they are
    x: Tensor  # (A, ...) where they started
    rows: Tensor  # (A,) positions in the batch
    loss: Tensor  # (A,) at z
    reached: Tensor  # (A,) is z adversarial?
    grad: Tensor  # like z: gradient of the loss
    found: Tensor  # (A,) has there been an adversarial example so far?
    best: Tensor  # (A, ...) the nearest one; before the first, the point of lowest loss
    nearest: Tensor  # (A,) its distance; inf before the first


Move = Callable[[Sight, State, float], tuple[Tensor, State]]  # (sight, state, i / steps) -> new z, new state


def approach(
    x: Tensor,
    objective: Objective,
    threat: ThreatModel,
    *,
    steps: int,
    init: Callable[[Tensor], State],
    move: Move,
) -> Tensor:
    """The nearest example to x (B, ...) on a path of `steps` points that starts at x; x itself where there is none.

    init: x of the samples at work -> their state. Samples whose goal is met at x take one forward pass; the others
    `steps` more and steps - 1 backward, fewer where the threat has a radius: they leave with an example within it.
    """
    keep, kept, rows = keep_nearest(x, threat.norm), nothing_kept(x), torch.arange(len(x), device=x.device)
    if not len(x) or threat.eps == 0:
        return x.clone()
    kept = keep_better(kept, x, evaluate(objective, x, rows), rows, keep)
    rows = (~kept.reached).nonzero()[:, 0]
    z, state = x[rows], init(x[rows])
    for i in range(steps - 1):
        if not len(rows):
            break
        evaluation, grad = backprop(objective, z, rows)
        kept = keep_better(kept, z, evaluation, rows, keep)
        if threat.eps is not None and time_to_check(i, x):
            left = ~near_enough(Kept(kept.z[rows], kept.loss[rows], kept.reached[rows]), x[rows], threat)
            if not bool(left.all()):
                rows, z, grad = rows[left], z[left], grad[left]
                evaluation, state = Evaluation(*(part[left] for part in evaluation)), tuple(s[left] for s in state)
        centre, found = x[rows], kept.reached[rows]
        best = kept.z[rows]
        nearest = torch.where(found, lengths(best - centre, threat.norm), torch.inf)
        z, state = move(Sight(z, centre, rows, *evaluation, grad, found, best, nearest), state, i / steps)
    if len(rows):
        kept = keep_better(kept, z, evaluate(objective, z, rows), rows, keep)
    return nearest_found(kept, x, threat)


def free_gradient(sight: Sight, threat: ThreatModel) -> Tensor:
    """The gradient (A, ...) without the components along which the box holds z back: a descent cannot use them."""
    held = ((sight.z <= threat.low) & (sight.grad > 0)) | ((sight.z >= threat.high) & (sight.grad < 0))
    return sight.grad.masked_fill(held, 0.0)
