"""The straight way from x to an adversarial example: how far back towards x one can go."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.core.gradients import evaluate
from advbench.core.keep import Kept, keep_better, keep_nearest
from advbench.core.norms import per_sample
from advbench.core.objectives import Objective
from advbench.types import ThreatModel


def shorten(objective: Objective, x: Tensor, threat: ThreatModel, kept: Kept, *, halvings: int = 10) -> Kept:
    """`kept` (B, ...) after a bisection between x, where the goal is not reached, and the example of each sample.

    One evaluation per halving for every sample that has an example other than x; the others cost nothing.
    """
    if threat.norm == 0:  # a shorter way along the segment changes as many components
        return kept
    apart = (kept.z != x).flatten(1).any(1)
    rows = (kept.reached & apart).nonzero()[:, 0]
    if not len(rows):
        return kept
    keep = keep_nearest(x, threat.norm)
    far, near = x.new_ones(len(rows)), x.new_zeros(len(rows))
    ends = kept.z[rows]
    for _ in range(halvings):
        middle = 0.5 * (near + far)
        z = x[rows] + torch.as_tensor(per_sample(middle, x)) * (ends - x[rows])
        evaluation = evaluate(objective, z, rows)
        kept = keep_better(kept, z, evaluation, rows, keep)
        far = torch.where(evaluation.reached, middle, far)
        near = torch.where(evaluation.reached, near, middle)
    return kept
