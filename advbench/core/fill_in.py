"""Hidden pixels filled in from what is still seen around them, so that a mask leaves as little trace as possible.

Push and pull over a pyramid of means: Gortler et al. 1996, doi:10.1145/237170.237200, section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def filled_in(x: Tensor, hidden: Tensor, empty: float = 0.5) -> Tensor:
    """x (B, C, H, W) with the pixels `hidden` (B, H, W) bool replaced by a smooth field that the others continue into.

    Seen pixels stay as they are. Where nothing is seen at all, every pixel is `empty`. Each sample is on its own.
    """
    weight = (~hidden)[:, None].to(x)
    levels = [(x * weight, weight)]  # sums of what is seen, and how much that is
    while max(levels[-1][0].shape[2:]) > 1:
        levels.append(_coarser(*levels[-1]))
    total, weight = levels[-1]
    field = torch.where(weight > 0, total / weight.clamp_min(torch.finfo(x.dtype).tiny), empty)
    for total, weight in reversed(levels[:-1]):
        around = functional.interpolate(field, total.shape[2:], mode="bilinear")
        field = total + (1.0 - weight) * around
    return torch.where(hidden[:, None], field, x)


def _coarser(total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Half as many rows and columns. One whole pixel is enough to know the colour of a cell: weights end at 1."""
    rim = (0, total.shape[3] % 2, 0, total.shape[2] % 2)
    sums = [4.0 * functional.avg_pool2d(functional.pad(part, rim), 2) for part in (total, weight)]
    known = sums[1].clamp_max(1.0)
    return sums[0] * (known / sums[1].clamp_min(torch.finfo(total.dtype).tiny)), known
