"""What each pixel of a perturbation did: the change of a score from x to x_adv, split over the pixels that changed.

Integrated gradients along the straight line from the clean to the adversarial image (arXiv:1703.01365): the parts sum
to the whole change, and a pixel that did not change gets nothing. The slope at x alone, which a one-step attack
trusts, explains the first-order part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.attributions.integrated_gradients import integrated_gradients
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, score_gradient, scores_at
from advbench.core.targets import Explained, as_target
from advbench.types import ConfigError


@dataclass(frozen=True, eq=False)
class PathAttribution:
    """In units of the score. parts (B, C, H, W): what each component did; first_order: its change times the slope at x.

    change (B,): score at x_adv minus score at x, to which the parts of a sample sum. gap (B,): what the quadrature
    missed and was spread over the parts in proportion to their magnitude (a network of ReLUs has a gradient that
    jumps). share (B,): the sum of first_order over change: 1 for a linear model, below where the score bends away; nan
    where nothing changed.
    """

    parts: Tensor
    first_order: Tensor
    change: Tensor
    gap: Tensor
    share: Tensor


def path_attribution(
    model: nn.Module, x: Tensor, x_adv: Tensor, y: Explained, *, most: int = 512, tolerance: float = 0.01
) -> PathAttribution:
    """Split the change of the score of y between x and x_adv (both (B, C, H, W)) over the components that changed.

    y: classes (B,), meaning raw scores, or any target (the difference of two classes, say). most, tolerance: gradients
    along the path at most, and the gap in units of the change at which fewer are enough (`integrated_gradients`).
    Raises ConfigError if the shapes differ or the settings cannot be.
    """
    if x.shape != x_adv.shape:
        raise ConfigError(f"x and x_adv must have one shape, got {tuple(x.shape)} and {tuple(x_adv.shape)}")
    target, rows = as_target(y), all_rows(x)
    parts = integrated_gradients(model, x_adv, target, baseline=x, most=most, tolerance=tolerance)
    with frozen(model):
        before, slope = score_gradient(model, x, target, rows)
        change = scores_at(model, x_adv, target, rows) - before
    first_order = (x_adv - x) * slope
    gap = change - parts.flatten(1).sum(1)
    parts = parts + _spread(gap, parts, (x_adv - x).abs())
    share = torch.where(change != 0, first_order.flatten(1).sum(1) / change, torch.nan)
    return PathAttribution(parts, first_order, change, gap, share)


def _spread(gap: Tensor, parts: Tensor, moved: Tensor) -> Tensor:
    """gap (B,) over the components that have a part; where none has, over those that moved (both (B, C, H, W))."""
    blank = parts.flatten(1).abs().sum(1) == 0
    weight = torch.where(blank.reshape(-1, 1, 1, 1), moved, parts.abs())
    total = weight.flatten(1).sum(1)
    each = torch.where(total > 0, gap / total, 0.0)
    return weight * each.reshape(-1, 1, 1, 1)
