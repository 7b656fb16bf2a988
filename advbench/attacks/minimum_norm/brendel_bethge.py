"""Along the boundary towards x in steps of a trust region. Brendel et al. 2019, arXiv:1907.01003."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.minimum_norm.constant_search import STEPS_BACK, lead
from advbench.attacks.minimum_norm.slide import slide
from advbench.core.descent import descend
from advbench.core.devices import time_to_check
from advbench.core.draws import Draws
from advbench.core.gradients import attending, backprop, evaluate, frozen
from advbench.core.hyperplanes import Hyperplane
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough, nearest_found, nothing_kept
from advbench.core.norms import lengths
from advbench.core.objectives import Objective, firmly, slack_of
from advbench.core.projections import into_box
from advbench.core.regula_falsi import pull_back
from advbench.core.step_rules import steepest
from advbench.core.trust_region import step_towards
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel

# The radius adapts to each sample, where the paper has one schedule for all: shorter after so many steps without a
# nearer example, longer after each one.
_PATIENCE, _SHORTER, _LONGER = 4, 0.7, 1.1
_SMALLEST = 1e-4  # of the distance: a radius with which nothing is left to gain
_BEYOND = 0.2  # of the radius: how far beyond the boundary a step aims; curvature takes some of it back
# From x or from noise to the first adversarial point: steps, and their root mean square in widths of the box.
_START_STEPS, _START_SIZE = 50, 0.1


@attack(
    norms=(0, 1, 2, inf), access="gradient", paper="arXiv:1907.01003", minimum_norm=True, ratio=1.05, cost=(1233, 1209)
)
def brendel_bethge(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 1000,
    radius: float = 0.3,
    starts: int = 3,
) -> Tensor:
    """The nearest example found to x (B, C, H, W), x itself where there is none.

    `starts` searches, the first from where the margin is first lost on the way down its gradient from x, the others
    from noise (led down the gradient too, if it is not adversarial). Each follows the boundary: a step is the point
    nearest to x on the linearised boundary that the box and a radius in l2 allow; see `core.trust_region`. A sample
    leaves a search once its radius has become too small to gain anything. Unlike in the paper, steps aim a little
    beyond the boundary, and a few last passes slide the example along it and back towards x.
    steps: of all searches together, at most. radius: of the first steps, in lengths of the example's perturbation.
    Raises ConfigError if steps or starts < 1 or radius is not positive.
    """
    runs = at_least_one("starts", starts)
    reach, length = positive("radius", radius), at_least_one("steps", steps)
    fool, keep = lead(model, y, targeted=targeted), keep_nearest(x, threat.norm)
    everyone = torch.arange(len(x), device=x.device)
    if not len(x) or threat.eps == 0:
        return x.clone()
    with frozen(model):
        clean = evaluate(fool, x, everyone)
        fool = firmly(fool, slack_of(clean.loss))
        kept = keep_better(nothing_kept(x), x, clean, everyone, keep)
        for start in range(runs):
            rows = (~near_enough(kept, x, threat)).nonzero()[:, 0]
            if not len(rows):
                break
            with attending(rows):
                part, here = _part(fool, rows), x[rows]
                begun = _started(part, here, threat, draws.rows(rows), start)
                begun = pull_back(part, here, clean.loss[rows], begun, threat=threat, steps=STEPS_BACK)
                found = _followed(part, here, threat, begun, steps=max(1, length // runs), reach=reach)
                found = slide(part, here, threat, found)
            kept = keep_better(kept, found.z, Evaluation(found.loss, found.reached), rows, keep)
        kept = pull_back(fool, x, clean.loss, kept, threat=threat, steps=STEPS_BACK)
        return nearest_found(kept, x, threat)


def _part(objective: Objective, rows: Tensor) -> Objective:
    """The same objective for a batch that consists of `rows` (A,) only."""
    return lambda z, at: objective(z, rows[at])


def _started(fool: Objective, x: Tensor, threat: ThreatModel, draws: Draws, start: int) -> Kept:
    """The first adversarial point on the way down the margin, from x at first, then from noise."""
    z = x
    if start > 0:
        noise = draws.uniform(tuple(x.shape[1:]), "start", start).to(x.dtype)
        z = threat.low + (threat.high - threat.low) * noise
    size = _START_SIZE * (threat.high - threat.low) * x[0].numel() ** 0.5
    box = into_box(threat.low, threat.high)
    return descend(z, fool, step=steepest(2.0, size), steps=_START_STEPS, project=box)


def _followed(fool: Objective, x: Tensor, threat: ThreatModel, kept: Kept, *, steps: int, reach: float) -> Kept:
    """`kept` (B, ...) after at most `steps` steps from each example; reach: the first radius, in lengths of delta."""
    keep = keep_nearest(x, threat.norm)
    rows = (kept.reached & ~near_enough(kept, x, threat) & (kept.z != x).flatten(1).any(1)).nonzero()[:, 0]
    z, rate, idle = kept.z[rows], x.new_full((len(rows),), reach), torch.zeros_like(rows)
    for i in range(steps):
        if not len(rows):
            break
        evaluation, grad = backprop(fool, z, rows)
        old = kept
        kept = keep_better(kept, z, evaluation, rows, keep)
        nearer = (kept.z[rows] != old.z[rows]).flatten(1).any(1)
        idle = torch.where(nearer, 0, idle + 1)
        tired = idle >= _PATIENCE
        rate = torch.where(tired, _SHORTER * rate, torch.where(nearer, (_LONGER * rate).clamp_max(reach), rate))
        idle = torch.where(tired, 0, idle)
        if time_to_check(i, x):
            seen = Kept(kept.z[rows], kept.loss[rows], kept.reached[rows])
            left = (rate > _SMALLEST) & ~near_enough(seen, x[rows], threat)
            rows, z, grad, rate, idle, tired = (part[left] for part in (rows, z, grad, rate, idle, tired))
            evaluation = Evaluation(evaluation.loss[left], evaluation.reached[left])
        size = rate * lengths(kept.z[rows] - x[rows], 2.0)
        if threat.norm == 0:  # less than one component is nothing
            size = torch.maximum(size, lengths(z - x[rows], inf))
        value = evaluation.loss + _BEYOND * size * lengths(grad, 2.0)
        ahead = step_towards(x[rows], z, Hyperplane(value, grad), threat, size)
        # Who has got lost goes back to the nearest example and sets out again with shorter steps.
        z = torch.where(tired.reshape(-1, *[1] * (z.dim() - 1)), kept.z[rows], ahead)
    return kept
