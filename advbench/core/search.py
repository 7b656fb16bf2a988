"""Search without a gradient: propose, look, keep the better."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.gradients import evaluate
from advbench.core.keep import Keep, Kept, Stop, keep_better, keep_strongest, nothing_kept, when_reached
from advbench.core.objectives import Objective

# (the record of the rows at work, rows (A,), step) -> candidates (A, ...)
Propose = Callable[[Kept, Tensor, int], Tensor]


def search(
    z: Tensor,
    objective: Objective,
    *,
    propose: Propose,
    steps: int,
    keep: Keep = keep_strongest,
    stop: Stop | None = when_reached,
) -> Kept:
    """Look at z (B, ...), then at `steps` proposals per sample; return the kept one. Samples leave as in `descend`."""
    rows = torch.arange(len(z), device=z.device)
    kept = nothing_kept(z)
    if len(rows):
        kept = keep_better(kept, z, evaluate(objective, z, rows), rows, keep)
    for i in range(steps):
        if stop is not None:
            rows = rows[~stop(Kept(kept.z[rows], kept.loss[rows], kept.reached[rows]))]
        if not len(rows):
            return kept
        candidates = propose(Kept(kept.z[rows], kept.loss[rows], kept.reached[rows]), rows, i)
        kept = keep_better(kept, candidates, evaluate(objective, candidates, rows), rows, keep)
    return kept
