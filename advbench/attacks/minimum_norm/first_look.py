"""What an attack learns from the one pass of x itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.gradients import logits_at
from advbench.core.keep import Kept, keep_better, keep_latest, nothing_kept
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify


class FirstLook(NamedTuple):
    """Logits (B, K) at x, the margin (B,) there (above 0: the goal is not met), and the record, begun."""

    logits: Tensor
    margin: Tensor
    kept: Kept


def first_look(model: nn.Module, x: Tensor, y: Tensor, *, targeted: bool) -> FirstLook:
    """One forward pass of x (B, ...). Where the goal is met at x, x is the kept example, at distance 0."""
    rows = torch.arange(len(x), device=x.device)
    logits = logits_at(model, x, rows)
    seen = misclassify(nn.Identity(), y, targeted=targeted, loss=margin_loss)(logits, rows)
    return FirstLook(logits, seen.loss, keep_better(nothing_kept(x), x, seen, rows, keep_latest))
