"""Projected descent on a per-sample loss: the one gradient loop of the package."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.gradients import Gradient, backprop, evaluate
from advbench.core.journal import phase
from advbench.core.keep import Keep, Kept, keep_better, keep_latest, nothing_kept
from advbench.core.objectives import Objective
from advbench.core.projections import Project, identity
from advbench.core.step_rules import StepRule
from advbench.types import Evaluation

Stop = Callable[[Kept], Tensor]  # the record of the rows at work -> (A,) bool: may this sample leave?

# Asking which samples are done makes a GPU wait for its queue; a few steps too many are cheaper than that, and what
# they find is not kept.
_STEPS_BETWEEN_CHECKS = {"cuda": 5}


def when_reached(kept: Kept) -> Tensor:
    """Leave as soon as the goal is reached."""
    return kept.reached


def descend(
    z: Tensor,
    objective: Objective,
    *,
    step: StepRule,
    steps: int,
    project: Project = identity,
    gradient: Gradient = backprop,
    keep: Keep = keep_latest,
    stop: Stop | None = when_reached,
    taken: Tensor | None = None,
    last_look: bool = True,
) -> Kept:
    """Take `steps` steps from z (B, ...) and return the kept iterate of every sample.

    Samples for which `stop` holds leave the loop, so the cost follows the work left; with stop None all climb on.
    z itself is the first iterate and the point after the last step is looked at too. z is not written to.
    taken (B,): steps that a sample has behind it already, at most `steps`; it leaves so much earlier.
    last_look False, for who only wants the latest points: a sample that had reached nothing before its last step takes
    the point after it unseen, a pass less; its loss and `reached` stay those of the point before.
    """
    rows = torch.arange(len(z), device=z.device)
    kept, state, first = nothing_kept(z), step.init(z), 0
    between = _STEPS_BETWEEN_CHECKS.get(z.device.type, 1)
    late = stop if between > 1 else None
    with phase() as (story, at_step):
        if (known := story.recall()) is not None:
            first, (rows, z, *record) = known[0], [part.to(z.device) for part in known[1]]
            kept, state = Kept(*record[:3]), tuple(record[3:])
        for i in range(first, steps):
            if not len(rows):
                break
            at_step(i)
            story.note(i, (rows, z, *kept, *state))
            evaluation, grad = gradient(objective, z, rows)
            story.tell(i, steps, z, evaluation.loss)
            kept = _noted(kept, z, evaluation, rows, keep, late=late)
            if (stop is not None or taken is not None) and i % between == 0:
                at_work = _at_work(kept, rows, stop, None if taken is None else steps - i - taken)
                if not bool(at_work.all()):
                    rows, z, grad = rows[at_work], z[at_work], grad[at_work]
                    state = tuple(part[at_work] for part in state)
            move, state = step.update(grad, state, i / steps)
            z = project(z + move, rows)
        at_step(steps)
        if not last_look and first <= steps:
            kept, rows, z = _taken_unseen(kept, rows, z)
        if len(rows) and first <= steps:
            kept = _noted(kept, z, evaluate(objective, z, rows), rows, keep, late=late)
        story.note(steps + 1, (rows, z, *kept, *state), last=True)
    return kept


def _taken_unseen(kept: Kept, rows: Tensor, z: Tensor) -> tuple[Kept, Tensor, Tensor]:
    """The record with z (A, ...) of the rows that had reached nothing, and the others, which have something to lose."""
    safe = kept.reached[rows]
    return kept._replace(z=kept.z.index_copy(0, rows[~safe], z[~safe])), rows[safe], z[safe]


def _at_work(kept: Kept, rows: Tensor, stop: Stop | None, left: Tensor | None) -> Tensor:
    """(A,) bool; left (B,): steps that each sample may still take."""
    going = torch.ones_like(rows, dtype=torch.bool) if left is None else left[rows] > 0
    return going if stop is None else going & ~stop(Kept(kept.z[rows], kept.loss[rows], kept.reached[rows]))


def _noted(kept: Kept, z: Tensor, evaluation: Evaluation, rows: Tensor, keep: Keep, *, late: Stop | None) -> Kept:
    """The record after the iterates z (A, ...) of `rows`.

    late: the rule for leaving, where samples that may leave are carried along for a while: they keep what they have.
    """
    if late is None:
        return keep_better(kept, z, evaluation, rows, keep)
    old = Kept(kept.z[rows], kept.loss[rows], kept.reached[rows])
    done = late(old)
    seen = Evaluation(evaluation.loss, torch.where(done, old.reached, evaluation.reached))
    return keep_better(kept, z, seen, rows, lambda old, new, rows: keep(old, new, rows) & ~done)
