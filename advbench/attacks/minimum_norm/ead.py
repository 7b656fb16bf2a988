"""Elastic net: l1 and squared l2 distance plus c times a hinge, by FISTA. Chen et al. 2018, arXiv:1709.04114."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.minimum_norm.constant_search import STALLED, STEPS_BACK, Ran, lead, over_constants, penalised
from advbench.attacks.minimum_norm.slide import slide
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, evaluate, frozen
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough, nearest_found, nothing_kept
from advbench.core.objectives import Objective, firmly, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import ThreatModel

_FIRST_CONSTANT = 1e-3  # section 4.1 of the paper


@attack(norms=(1,), access="gradient", paper="arXiv:1709.04114", minimum_norm=True, ratio=1.05, cost=(9026, 9020))
def ead(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 1000,
    searches: int = 9,
    step_size: float = 0.01,
    beta: float = 0.01,
    confidence: float = 0.0,
) -> Tensor:
    """The nearest example found to x (B, C, H, W) in l1 (the paper's L1 rule), x itself where there is none.

    `searches` runs from x at beta |delta|_1 + |delta|_2^2 + c * hinge, with a bisection over c for each sample; a run
    ends when a tenth of it gains nothing. Each step is a gradient step, then everything that has moved by less than
    beta goes back to x and the rest comes nearer by it (equation 5 of the paper). What is looked at are the points with
    momentum, where the gradient is taken anyway: half the passes of the paper's code. Unlike in the paper, a few last
    passes slide the example along the boundary and back towards x.
    steps: of one run. step_size: of the gradient step at the start, it falls like the root of the steps left.
    beta: threshold, in input units. The paper's 0.001 gave a longer mean on a plainly trained MNIST net (9.4 for 7.3,
    30 images), though a shorter median (6.1 for 6.6).
    confidence: lead of the reached logit over all others. `draws` is not used.
    Raises ConfigError if steps or searches < 1, step_size is not positive, beta or confidence is negative.
    """
    fool = lead(model, y, targeted=targeted, confidence=at_least_zero("confidence", confidence))
    size, threshold = positive("step_size", step_size), at_least_zero("beta", beta)
    length, runs = at_least_one("steps", steps), at_least_one("searches", searches)
    keep, rows = keep_nearest(x, threat.norm), torch.arange(len(x), device=x.device)
    if not len(x) or threat.eps == 0:
        return x.clone()

    def run(rows: Tensor, c: Tensor, nearest: Tensor) -> Ran:
        return _shrink(fool, x, threat, rows, c, steps=length, step_size=size, beta=threshold)

    with frozen(model):
        clean = evaluate(fool, x, rows)
        fool = firmly(fool, slack_of(clean.loss))
        kept = keep_better(nothing_kept(x), x, clean, rows, keep)
        kept = over_constants(kept, x, threat, run, searches=runs, first=_FIRST_CONSTANT, keep=keep)
        kept = pull_back(fool, x, clean.loss, slide(fool, x, threat, kept), threat=threat, steps=STEPS_BACK)
        return nearest_found(kept, x, threat)


def _shrink(
    fool: Objective,
    x: Tensor,
    threat: ThreatModel,
    rows: Tensor,
    c: Tensor,
    *,
    steps: int,
    step_size: float,
    beta: float,
) -> Ran:
    """One run of the samples `rows` (A,) with the constants c (B,)."""

    def elastic_net(image: Tensor, rows: Tensor) -> Tensor:
        return (image - x[rows]).flatten(1).square().sum(1)

    objective, keep, tenth = penalised(elastic_net, fool, c), keep_nearest(x, threat.norm), max(1, steps // 10)
    found, holds = nothing_kept(x), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    z = last = x[rows]
    before = x.new_full((len(rows),), torch.inf)
    for i in range(steps):
        evaluation, grad = backprop(objective, z, rows)
        found = keep_better(found, z, evaluation, rows, keep)
        holds[rows] |= evaluation.reached
        loss = evaluation.loss + beta * (z - x[rows]).flatten(1).abs().sum(1)
        if i % tenth == 0 and 0 < i < steps - 1:  # the last tenth is asked about when the run is over
            seen = Kept(found.z[rows], found.loss[rows], found.reached[rows])
            left = (loss <= STALLED * before) & ~near_enough(seen, x[rows], threat)
            rows, z, grad, last, before = rows[left], z[left], grad[left], last[left], loss[left]
            if not len(rows):
                break
            holds[rows] = False
        start, size = x[rows], step_size * (1.0 - i / steps) ** 0.5
        delta = z - size * grad - start
        new = (start + delta.sign() * (delta.abs() - beta).clamp_min(0.0)).clamp(threat.low, threat.high)
        z, last = (new + i / (i + 3.0) * (new - last)).clamp(threat.low, threat.high), new
    return Ran(found, holds)
