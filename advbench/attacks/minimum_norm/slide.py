"""From an adversarial example along the boundary towards x: a few passes at the end of a longer search."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.core.gradients import backprop
from advbench.core.hyperplanes import Hyperplane, onto_hyperplane
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough
from advbench.core.objectives import Objective
from advbench.types import ThreatModel

_BEYOND = 1e-3  # of the way from x to the boundary: how much further a step aims


def slide(fool: Objective, x: Tensor, threat: ThreatModel, kept: Kept, *, steps: int = 20) -> Kept:
    """`kept` (B, ...) after at most `steps` tries to come nearer; the loss of `fool` is the margin, 0 at the boundary.

    A try goes a part of the way from the example to the point of the linearised boundary that is nearest to x: all of
    it at first, half of the last part after a failure, twice the last part after a success. One forward and one
    backward pass each, for samples with an example other than x that is not near enough; these carry the loss of `fool`
    afterwards.
    """
    keep, apart = keep_nearest(x, threat.norm), (kept.z != x).flatten(1).any(1)
    rows = (kept.reached & apart & ~near_enough(kept, x, threat)).nonzero()[:, 0]
    if not len(rows) or steps < 1:
        return kept
    z, start = kept.z[rows], x[rows]
    part = x.new_ones(len(rows))
    seen, grad = backprop(fool, z, rows)
    # What was found on the way of another objective now carries the loss of this one.
    kept = kept._replace(loss=kept.loss.index_copy(0, rows, seen.loss.to(kept.loss.dtype)))
    plane = Hyperplane(seen.loss, grad)
    for _ in range(steps - 1):
        goal = onto_hyperplane(start, plane.moved(start - z), threat.norm, threat.low, threat.high)
        goal = start + (1.0 + _BEYOND) * (goal - start)
        tried = torch.lerp(z, goal, part.reshape(-1, *[1] * (z.dim() - 1))).clamp(threat.low, threat.high)  # exact at 1
        seen, grad = backprop(fool, tried, rows)
        before = kept.z[rows]
        kept = keep_better(kept, tried, seen, rows, keep)
        nearer = (kept.z[rows] != before).flatten(1).any(1)
        at = nearer.reshape(-1, *[1] * (z.dim() - 1))
        z = torch.where(at, tried, z)
        plane = Hyperplane(torch.where(nearer, seen.loss, plane.value), torch.where(at, grad, plane.normal))
        part = torch.where(nearer, (2.0 * part).clamp_max(1.0), 0.5 * part)
    return kept
