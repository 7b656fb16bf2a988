"""The l2 attack of arXiv:1608.04644: Adam in tanh space for a constant, a bisection over constants around it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advbench.attacks.minimum_norm.constant_search import DAMPING, STALLED, Ran, over_constants, penalised
from advbench.core.gradients import backprop
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough, nothing_kept
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import Objective, through
from advbench.core.parameterisations import tanh_box
from advbench.core.step_rules import adam
from advbench.types import ThreatModel

_FIRST_CONSTANT = 1e-3  # published code of the paper
_GENEROUS = 4.0  # times the linear estimate of the distance, before there is an example
_FINEST = 0.02  # root mean square of the change, in widths of the box, below which the step shrinks in proportion


def weigh_length(
    fool: Objective, x: Tensor, threat: ThreatModel, kept: Kept, *, steps: int, searches: int, step_size: float
) -> Kept:
    """`kept` (B, ...) after `searches` runs of `steps` steps at |delta|^2 + c * hinge."""
    space, rule = tanh_box(threat.low, threat.high), adam(step_size, damping=DAMPING)
    keep, tenth = keep_nearest(x, threat.norm), max(1, steps // 10)
    rows = (~near_enough(kept, x, threat)).nonzero()[:, 0]
    if not len(rows):
        return kept
    evaluation, grad = backprop(fool, x[rows], rows)
    linear = evaluation.loss / lengths(grad, 2.0).clamp_min(torch.finfo(x.dtype).tiny)
    guess = x.new_full((len(x),), torch.inf).index_copy(0, rows, _GENEROUS * linear)
    finest = _FINEST * (threat.high - threat.low) * math.sqrt(x[0].numel())

    def length(image: Tensor, rows: Tensor) -> Tensor:
        return (image - x[rows]).flatten(1).square().sum(1)

    def run(rows: Tensor, c: Tensor, nearest: Tensor) -> Ran:
        # A step that is long beside the change it refines never comes to rest.
        pace = (torch.where(nearest.isfinite(), nearest, guess) / finest).clamp_max(1.0)
        objective = through(space.decode, penalised(length, fool, c))
        z, found, holds = space.encode(x[rows]), nothing_kept(x), torch.zeros_like(kept.reached)
        state, before = rule.init(z), x.new_full((len(rows),), torch.inf)
        for i in range(steps):
            evaluation, grad = backprop(objective, z, rows)
            found = keep_better(found, space.decode(z), evaluation, rows, keep)
            holds[rows] |= evaluation.reached
            if i % tenth == 0 and 0 < i < steps - 1:  # the last tenth is asked about when the run is over
                seen = Kept(found.z[rows], found.loss[rows], found.reached[rows])
                left = (evaluation.loss <= STALLED * before) & ~near_enough(seen, x[rows], threat)
                rows, z, grad, before = rows[left], z[left], grad[left], evaluation.loss[left]
                state = tuple(part[left] for part in state)
                if not len(rows):
                    break
                holds[rows] = False
            move, state = rule.update(grad, state, i / steps)
            z = z + move * per_sample(pace[rows], z)
        return Ran(found, holds)

    return over_constants(kept, x, threat, run, searches=searches, first=_FIRST_CONSTANT, keep=keep)
