"""The log odds against a class: what cross entropy measures, without its saturation."""

from __future__ import annotations

import torch
from torch import Tensor


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """log of (1 - p) / p for p = softmax(logits)[y], (B,): the higher, the further from y; -inf with a single class.

    Cross entropy is softplus of this, so the gradients of both have the same direction. But where p rounds to 1 that of
    cross entropy is lost to rounding, and its direction with it; this one keeps both.
    """
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.logsumexp(1) - logits.gather(1, y[:, None])[:, 0]
