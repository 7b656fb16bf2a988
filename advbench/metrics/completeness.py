"""Completeness: does a map sum to the change of the score? Sundararajan et al. 2017, arXiv:1703.01365."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, scores_at
from advbench.core.targets import Explained, as_target


class Gap(NamedTuple):
    """What is missing, all (B,) float64 in units of the score.

    gap: sum of the map - change. change: score(x) - score(baseline). relative: |gap| / |change|, nan where the score
    does not change.
    """

    gap: Tensor
    change: Tensor
    relative: Tensor


def completeness(model: nn.Module, x: Tensor, y: Explained, heat: Tensor, baseline: Tensor) -> Gap:
    """By how much the sum of heat (B, ...) misses score(x) - score(baseline), per sample.

    x and baseline (B, C, H, W); a baseline with sides of 1 is broadcast. y: classes (B,), meaning their raw scores, or
    a target. The model is left as it came. Proposition 1 of the paper: 0 for an exact path integral.
    """
    target, rows = as_target(y), all_rows(x)
    origin = baseline.to(x).expand_as(x)
    with frozen(model):
        change = scores_at(model, x, target, rows).double() - scores_at(model, origin, target, rows).double()
    gap = heat.detach().double().flatten(1).sum(1) - change
    relative = torch.where(change == 0, torch.nan, gap.abs() / torch.where(change == 0, 1.0, change.abs()))
    return Gap(gap, change, relative)
