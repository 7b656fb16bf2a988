"""Energy-based pointing game: how much of the map lies on the object? Wang et al. 2020, arXiv:1910.01279."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.metrics.pointing_game import check_mask


def energy_pointing_game(heat: Tensor, mask: Tensor) -> Tensor:
    """(B,) float64 in [0, 1]: share of the map's positive values that lies on the mask; a level map gives its area.

    heat (B, C, H, W), channels summed; what is negative speaks against the object and counts as 0, as behind the ReLU
    of the paper's maps. mask (B, H, W) bool: the object's pixels, in the paper its bounding box. Unlike
    `pointing_game` it reads the whole map and has no tolerance. nan where the mask is empty and where nothing is
    positive. Raises ValueError for shapes that do not fit.
    """
    check_mask(heat, mask)
    energy = heat.detach().double().sum(1).clamp_min(0.0)  # (B, H, W)
    whole = energy.sum((1, 2))
    counted = (whole > 0) & mask.any(2).any(1)
    return torch.where(counted, (energy * mask).sum((1, 2)) / torch.where(whole > 0, whole, 1.0), torch.nan)
