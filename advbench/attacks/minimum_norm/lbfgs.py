"""Box-constrained L-BFGS on distance plus c times a cross entropy. Szegedy et al. 2014, arXiv:1312.6199."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.minimum_norm.constant_search import STALLED, STEPS_BACK, Ran, lead, over_constants, penalised
from advbench.attacks.minimum_norm.slide import slide
from advbench.core.curvature import Curvature, newton_like, no_curvature, remembered
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, evaluate, frozen
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough, nearest_found, nothing_kept
from advbench.core.losses import cross_entropy
from advbench.core.objectives import Objective, firmly, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel

_FIRST_CONSTANT = 1e-2  # of the cross entropy; ten times as much after each failure until one is enough
_SUFFICIENT = 1e-4  # of the decrease that the slope promises: Nocedal and Wright 2006, equation 3.6a
_FIRST_PART = 0.5  # of the gradient: the whole way to the minimum if the cross entropy were linear


class _Work(NamedTuple):
    """Where each sample stands: one entry per row (A, ...)."""

    z: Tensor
    loss: Tensor
    grad: Tensor
    way: Tensor  # the direction of the line search from z
    part: Tensor  # how much of it is tried next
    known: Curvature

    def rows(self, index: Tensor) -> _Work:
        z, loss, grad, way, part = (each[index] for each in (self.z, self.loss, self.grad, self.way, self.part))
        return _Work(z, loss, grad, way, part, self.known.rows(index))


@attack(norms=(2,), access="gradient", paper="arXiv:1312.6199", minimum_norm=True, ratio=1.05, cost=(926, 920))
def lbfgs(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 100,
    searches: int = 9,
    memory: int = 10,
) -> Tensor:
    """The nearest example found to x (B, C, H, W), x itself where there is none.

    `searches` runs from x at |delta|^2 + c * cross entropy, with a bisection over c for each sample (the paper weighs
    the other term, which is the same). Untargeted, where the paper has no loss, the cross entropy is that of "any class
    but y". Each sample has a memory and a line search of its own: a point that does not lower the loss enough costs a
    step and the next one is tried closer. Components that are held by the box stay out of the direction. Unlike in the
    paper, a few last passes slide the example along the boundary and back towards x.
    steps: points looked at in one run. memory: pairs remembered. `draws` is not used.
    Raises ConfigError if steps, searches or memory < 1.
    """
    length, runs, pairs = (
        at_least_one(name, value) for name, value in (("steps", steps), ("searches", searches), ("memory", memory))
    )
    fool, keep = lead(model, y, targeted=targeted), keep_nearest(x, threat.norm)
    entropy, rows = _entropy(model, y, targeted=targeted), torch.arange(len(x), device=x.device)
    if not len(x) or threat.eps == 0:
        return x.clone()

    def run(rows: Tensor, c: Tensor, nearest: Tensor) -> Ran:
        objective = penalised(lambda z, at: (z - x[at]).flatten(1).square().sum(1), entropy, c)
        return _minimise(objective, x, threat, rows, steps=length, memory=pairs)

    with frozen(model):
        clean = evaluate(fool, x, rows)
        fool = firmly(fool, slack_of(clean.loss))
        kept = keep_better(nothing_kept(x), x, clean, rows, keep)
        kept = over_constants(kept, x, threat, run, searches=runs, first=_FIRST_CONSTANT, keep=keep)
        kept = pull_back(fool, x, clean.loss, slide(fool, x, threat, kept), threat=threat, steps=STEPS_BACK)
        return nearest_found(kept, x, threat)


def _entropy(model: nn.Module, y: Tensor, *, targeted: bool) -> Objective:
    """-log of the probability of the goal: y itself, or all other classes together."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, labels = model(z), y[rows]
        hit = logits.argmax(1) == labels
        if targeted:
            return Evaluation(cross_entropy(logits, labels), hit)
        others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
        return Evaluation(logits.logsumexp(1) - others, ~hit)

    return objective


def _minimise(objective: Objective, x: Tensor, threat: ThreatModel, rows: Tensor, *, steps: int, memory: int) -> Ran:
    """One run of the samples `rows` (A,) from x."""
    keep, tenth = keep_nearest(x, threat.norm), max(1, steps // 10)
    found, holds = nothing_kept(x), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    if not len(rows):
        return Ran(found, holds)
    z = x[rows]
    evaluation, grad = backprop(objective, z, rows)
    work = _Work(z, evaluation.loss, grad, -grad, x.new_full((len(z),), _FIRST_PART), no_curvature(z, memory))
    before = work.loss
    for i in range(1, steps):
        tried = (work.z + _of(work.part, work.z) * work.way).clamp(threat.low, threat.high)
        evaluation, grad = backprop(objective, tried, rows)
        found = keep_better(found, tried, evaluation, rows, keep)
        work, accepted = _searched(work, tried, evaluation.loss, grad, threat)
        holds[rows] = torch.where(accepted, evaluation.reached, holds[rows])
        if i % tenth == 0:
            seen = Kept(found.z[rows], found.loss[rows], found.reached[rows])
            left = (work.loss <= STALLED * before) & ~near_enough(seen, x[rows], threat)
            rows, work, before = rows[left], work.rows(left), work.loss[left]
            if not len(rows):
                break
    return Ran(found, holds)


def _searched(work: _Work, tried: Tensor, loss: Tensor, grad: Tensor, threat: ThreatModel) -> tuple[_Work, Tensor]:
    """The work after a try, and which samples (A,) have moved there."""
    move = tried - work.z
    promise = (move * work.grad).flatten(1).sum(1)
    accepted = loss <= work.loss + _SUFFICIENT * promise
    at = _of(accepted, tried)
    learned = remembered(work.known, move * at, (grad - work.grad) * at)
    z, slope = torch.where(at, tried, work.z), torch.where(at, grad, work.grad)
    held = ((z <= threat.low) & (slope > 0)) | ((z >= threat.high) & (slope < 0))
    free = slope.masked_fill(held, 0.0)
    way = -newton_like(learned, free).masked_fill(held, 0.0)
    downhill = (way * slope).flatten(1).sum(1) < 0
    way = torch.where(_of(downhill, way), way, -free)
    # The lowest point of the parabola through both losses and the slope, not too near to either end.
    nearer = (-0.5 * promise / (loss - work.loss - promise)).nan_to_num(nan=0.5).clamp(0.1, 0.5)
    now = _Work(
        z,
        torch.where(accepted, loss, work.loss),
        slope,
        torch.where(at, way, work.way),
        torch.where(accepted, 1.0, work.part * nearer),
        learned,
    )
    return now, accepted


def _of(values: Tensor, like: Tensor) -> Tensor:
    """values (A,) shaped to broadcast against like (A, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
