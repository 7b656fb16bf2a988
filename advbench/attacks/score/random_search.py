"""Random search: one candidate per step and sample, kept if it is better. Not an attack; the loop of several."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.devices import time_to_check
from advbench.core.gradients import evaluate
from advbench.core.keep import Kept, keep_better, keep_strongest, nothing_kept
from advbench.core.norms import per_sample
from advbench.core.objectives import Objective
from advbench.types import ConfigError

Learn = Callable[[Tensor, Tensor], None]  # (was the last candidate kept? (A,) bool, rows (A,))
Propose = Callable[[Tensor, Tensor, int], Tensor]  # (best so far (A, ...), rows (A,), step) -> candidates (A, ...)


def enough_queries(queries: int, least: int, purpose: str) -> int:
    """`queries`. Raises ConfigError below `least`, what the first change of x takes: x itself would look robust.

    purpose: what these queries are for, for the message.
    """
    if queries < least:
        raise ConfigError(f"queries must be at least {least}, {purpose}, got {queries}")
    return queries


def random_search(z: Tensor, objective: Objective, *, propose: Propose, steps: int, learn: Learn | None = None) -> Kept:
    """Look at z (B, ...), then at `steps` candidates per sample: 1 + steps queries of each sample that holds.

    A candidate replaces the best if its loss is lower or it reaches the goal; a sample that has reached it leaves. A
    method whose next candidate depends on the fate of the last one is told it through `learn`. The
    state is as small as the work left: thousands of steps for the last few samples cost what these few cost.
    """
    rows = torch.arange(len(z), device=z.device)
    loss, reached = evaluate(objective, z, rows)
    loss = loss.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    done = Kept(z.clone(), loss.clone(), reached.clone())
    for i in range(steps):
        if time_to_check(i, z) and bool(reached.any()):
            _record(done, Kept(z, loss, reached), rows)
            rows, z, loss, reached = (part[~reached] for part in (rows, z, loss, reached))
        if not len(rows):
            return done
        candidates = propose(z, rows, i)
        new = evaluate(objective, candidates, rows)
        better = ~reached & ((new.loss < loss) | new.reached)
        if learn is not None:
            learn(better, rows)
        z = torch.where(torch.as_tensor(per_sample(better, z)), candidates, z)
        loss, reached = torch.where(better, new.loss, loss), reached | new.reached
    _record(done, Kept(z, loss, reached), rows)
    return done


def _record(done: Kept, now: Kept, rows: Tensor) -> None:
    for total, part in zip(done, now, strict=True):
        total[rows] = part


def look_at(x: Tensor, objective: Objective) -> Kept:
    """The record after one query of x (B, ...) itself: what was adversarial from the start stays as it is."""
    rows = torch.arange(len(x), device=x.device)
    return keep_better(nothing_kept(x), x, evaluate(objective, x, rows), rows, keep_strongest)
