"""Distance plus c times a hinge on the margin, and the search for the c of each sample.

Carlini and Wagner 2017, arXiv:1608.04644, sections V and VI. Shared by the attacks that weigh distance against success.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.keep import Keep, Kept, keep_better, near_enough
from advbench.core.losses import margin
from advbench.core.norms import lengths
from advbench.core.objectives import Objective
from advbench.types import Evaluation, ThreatModel

Cost = Callable[[Tensor, Tensor], Tensor]  # (images (A, ...), rows (A,)) -> (A,) what is paid beside the hinge


class Ran(NamedTuple):
    """What a run with given constants came to."""

    found: Kept  # the record (B, ...) of this run
    holds: Tensor  # (B,) bool: was the goal still met, now and then, when it ended?


# (rows (A,), c (B,), distance (B,) of the nearest example so far, inf where there is none) -> what it came to
Run = Callable[[Tensor, Tensor, Tensor], Ran]

# A pixel at the edge of the box has a slope of 1e-6 in tanh space. With Adam's usual 1e-8 it stays there for good.
DAMPING = 1e-15
STEPS_BACK = 5  # of regula falsi along the segment to x, which end a search: the last is good to 1e-4 of the way
STALLED = 0.9999  # published code of arXiv:1608.04644: a tenth of the steps must gain this much


def lead(model: nn.Module, y: Tensor, *, targeted: bool, confidence: float = 0.0) -> Objective:
    """How far the margin is from the goal: what f6 of the paper cuts off below 0, plus `confidence`.

    reached: the prediction is where it should be, and no other logit comes closer than `confidence`.
    """

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, labels = model(z), y[rows]
        ahead, hit = margin(logits, labels), logits.argmax(1) == labels
        gap = -ahead if targeted else ahead
        reached = (hit if targeted else ~hit) & (gap <= -confidence)
        return Evaluation(gap + confidence, reached)

    return objective


def penalised(cost: Cost, fool: Objective, c: Tensor) -> Objective:
    """cost + c (B,) times the hinge max(loss of `fool`, 0): what is minimised while the constant is held."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        loss, reached = fool(z, rows)
        return Evaluation(cost(z, rows) + c[rows] * loss.clamp_min(0.0), reached)

    return objective


def over_constants(
    kept: Kept, x: Tensor, threat: ThreatModel, run: Run, *, searches: int, first: float, keep: Keep
) -> Kept:
    """`kept` (B, ...) after `searches` runs, each sample with a constant of its own that starts at `first`.

    A run that ends with success bounds c from above, one that does not from below; then c is the middle, or ten times
    as large as long as nothing bounds it from above. With ten runs or more the last one repeats the least c that was
    enough. A success on the way that does not last says nothing about c: a first step too far may have made it.
    Samples that are near enough are not run again.
    """
    c = x.new_full((len(x),), first)
    lower, upper = torch.zeros_like(c), torch.full_like(c, torch.inf)
    for turn in range(searches):
        rows = (~near_enough(kept, x, threat)).nonzero()[:, 0]
        if not len(rows):
            break
        if turn == searches - 1 and searches >= 10:
            c = torch.where(upper.isfinite(), upper, c)
        nearest = torch.where(kept.reached, lengths(kept.z - x, threat.norm), torch.inf)
        found, holds = run(rows, c, nearest)
        kept = keep_better(kept, found.z[rows], Evaluation(found.loss[rows], found.reached[rows]), rows, keep)
        upper = torch.where(holds, torch.minimum(upper, c), upper)
        lower = torch.where(holds, lower, torch.maximum(lower, c))
        c = torch.where(upper.isfinite(), 0.5 * (lower + upper), 10.0 * c)
    return kept
