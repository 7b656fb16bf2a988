"""Targeted FAB: towards each of the runners-up in turn, success is any other class. Croce and Hein 2020."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.minimum_norm.boundary_walk import Walk, somewhere, walk
from advbench.attacks.minimum_norm.first_look import first_look
from advbench.attacks.minimum_norm.linearise import margin_plane
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen
from advbench.core.keep import Kept, keep_better, keep_nearest, nearest_found
from advbench.core.losses import margin_loss, runners_up
from advbench.core.objectives import Objective, misclassify, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:1907.02044", minimum_norm=True, ratio=1.01, cost=(1804, 900))
def fab_t(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    target_classes: int = 9,
    steps: int = 100,
    restarts: int = 1,
    random_start: bool = False,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    search_steps: int = 3,
    abreast: int = 1,
) -> Tensor:
    """The nearest example found, x itself if none; with a radius a sample leaves once its example is in the ball.

    A walk of `fab` for each of the `target_classes` best classes at x other than y, along the boundary between y and
    that class alone: one backward pass per step, however many classes there are. What is found on the way counts
    whatever class it is. restarts: walks per target; with random_start the first of them begins away from x as well.
    abreast: classes that are walked to at once, as in `apgd_t`. Other parameters and errors: see `fab`. The defaults
    are those of AutoAttack (arXiv:2003.01690). y is always the class to leave; `fab` goes to a given target.
    """
    how = Walk(
        at_least_one("steps", steps), positive("alpha_max", alpha_max), positive("eta", eta), positive("beta", beta)
    )
    at_least_one("restarts", restarts)
    at_least_zero("search_steps", search_steps)
    objective = misclassify(model, y, loss=margin_loss)
    with frozen(model):
        logits, margin, kept = first_look(model, x, y, targeted=False)
        targets = runners_up(logits, y, at_least_one("target_classes", target_classes))
        for rank in range(0, targets.shape[1], at_least_one("abreast", abreast)):
            target = targets[:, rank : rank + abreast]  # (B, W)
            width = target.shape[1]
            copies = torch.arange(len(x), device=x.device).repeat_interleave(width)
            ranks = (rank + torch.arange(width, device=x.device)).repeat(len(x))
            theirs = misclassify(model, y[copies], loss=margin_loss)
            plane = margin_plane(_lead(model, y[copies], target.flatten()))
            for run in range(restarts):
                at_x, known, centre = run == 0 and not random_start, Kept(*(part[copies] for part in kept)), x[copies]
                mine, number = draws.rows(copies), ranks * restarts + run
                start = centre if at_x else somewhere(centre, known, threat, mine, run=number)
                with attending(copies):
                    found = walk(known, start, centre, threat, objective=theirs, linearise=plane, how=how)
                kept = _nearest_of_copies(kept, found, x, threat.norm)
        slack = slack_of(margin, logits)
        kept = pull_back(objective, x, margin, kept, threat=threat, steps=search_steps, slack=slack)
    return nearest_found(kept, x, threat)


def _nearest_of_copies(kept: Kept, found: Kept, x: Tensor, norm: float) -> Kept:
    """The record (B, ...) after those of its samples' copies (B * W, ...), which are neighbours."""
    rows, width = torch.arange(len(x), device=x.device), len(found.z) // max(len(x), 1)
    for i in range(width):
        z, loss, reached = (part[i::width] for part in found)
        kept = keep_better(kept, z, Evaluation(loss, reached), rows, keep_nearest(x, norm))
    return kept


def _lead(model: nn.Module, y: Tensor, target: Tensor) -> Objective:
    """The logit of y (B,) minus that of target (B,)."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits = model(z)
        pair = logits.gather(1, torch.stack([y[rows], target[rows]], 1))
        return Evaluation(pair[:, 0] - pair[:, 1], logits.argmax(1) != y[rows])

    return objective
