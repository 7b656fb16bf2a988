"""How the length of a perturbation grows."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.core.norms import lengths, per_sample


def length_gradient(delta: Tensor, norm: float) -> Tensor:
    """Gradient of the length of each delta (A, ...) in l1 or l2, like delta; 0 where delta (l1: a component) is 0."""
    if norm == 1:
        return delta.sign()
    length = lengths(delta, 2.0).clamp_min(torch.finfo(delta.dtype).tiny)
    return delta / torch.as_tensor(per_sample(length, delta))
