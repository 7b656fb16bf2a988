"""Projected descent on a per-sample loss: the one gradient loop of the package."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.core.devices import steps_between_checks, time_to_check
from advbench.core.gradients import Gradient, backprop, evaluate
from advbench.core.journal import phase
from advbench.core.keep import Keep, Kept, Stop, keep_better, keep_latest, nothing_kept, when_reached
from advbench.core.objectives import Objective
from advbench.core.projections import Project, identity
from advbench.core.step_rules import StepRule


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
    late = stop if steps_between_checks(z) > 1 else None
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
            kept = keep_better(kept, z, evaluation, rows, keep, late=late)
            if (stop is not None or taken is not None) and time_to_check(i, z):
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
            kept = keep_better(kept, z, evaluate(objective, z, rows), rows, keep, late=late)
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
