"""One attack after another, each on the samples that survived those before it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import attending
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
