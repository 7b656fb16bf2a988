"""One attack after another, each on the samples that survived those before it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import attending, evaluate
from advbench.core.keep import Kept, keep_better, keep_strongest, nothing_kept
from advbench.core.losses import margin_loss
from advbench.core.mean_gradient import mean_evaluate
from advbench.core.objectives import misclassify
from advbench.types import ThreatModel

Part = Callable[..., Tensor]  # an attack with its own parameters filled in

# Margins that differ by more between two passes of the same images, relatively, are no rounding.
_SAME = 1e-4


@dataclass(frozen=True, eq=False)
class Case:
    """Whom to attack: a model, images x (B, ...) with the classes y (B,) to leave, and the threat.

    samples: passes over which a point is judged, for a model that is random itself: fooled is who is so in all of them.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    threat: ThreatModel
    samples: int = 1


def look(case: Case) -> Kept:
    """The record (B, ...) before any attack: x itself, its margin, and whether it is misclassified."""
    rows = torch.arange(len(case.x), device=case.x.device)
    objective = misclassify(case.model, case.y, loss=margin_loss)
    seen = mean_evaluate(objective, case.x, rows, samples=case.samples)
    return keep_better(nothing_kept(case.x), case.x, seen, rows, keep_strongest)


def attack_survivors(kept: Kept, part: Part, case: Case, *, draws: Draws, among: Tensor | None = None) -> Kept:
    """The record (B, ...) after `part` was run on the samples of `among` (B,) bool (default: all) that still hold.

    The point of the lowest margin is kept, a misclassified one before any other. One look more per sample at what the
    part returned.
    """
    at_work = ~kept.reached if among is None else ~kept.reached & among
    left = at_work.nonzero()[:, 0]
    if not len(left):
        return kept
    y = case.y[left]
    with attending(left):
        x_adv = part(case.model, case.x[left], y, case.threat, draws=draws.rows(left))
        objective, rows = misclassify(case.model, y, loss=margin_loss), torch.arange(len(left), device=y.device)
        seen = mean_evaluate(objective, x_adv, rows, samples=case.samples)
    return keep_better(kept, x_adv, seen, left, keep_strongest)


def in_copies(part: Part, count: int) -> Part:
    """`part` on `count` copies of each sample at once, which differ in their draws; the best point of each sample.

    For few samples that are to be attacked often: a pass of eight images takes hardly longer than a pass of one.
    """

    def at_once(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
        copies = torch.arange(len(x), device=x.device).repeat_interleave(count)
        with attending(copies):
            found = part(model, x[copies], y[copies], threat, draws=draws.copies(count))
            objective = misclassify(model, y[copies], loss=margin_loss)
            margin = evaluate(objective, found, torch.arange(len(copies), device=x.device)).loss
        best = margin.nan_to_num(nan=torch.inf).reshape(-1, count).argmin(1)
        return found.reshape(-1, count, *x.shape[1:])[torch.arange(len(x), device=x.device), best]

    return at_once


def warn_if_random(case: Case, first: Kept, who: str) -> None:
    """Warn, in the name of `who`, if a second look at the images shows other margins than the first."""
    second = look(case)
    apart = (first.loss - second.loss).abs() > _SAME * (1.0 + first.loss.abs())
    if bool(apart.any()):
        warnings.warn(
            f"{who}: the model answers {int(apart.sum())} of {len(apart)} images differently when asked again. What "
            "follows single passes overstates how robust it is; auto with version='rand' averages them.",
            RuntimeWarning,
            stacklevel=3,
        )
