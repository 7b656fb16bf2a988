"""How alike two explanations of one image are, in four numbers, whatever the method and the sign of its values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.metrics.map_similarity import (
    centre_shift,
    rank_correlation,
    structural_similarity,
    top_k_overlap,
    varies,
)

SHARE = 0.1  # of the pixels that count as important


@dataclass(frozen=True, eq=False)
class Likeness:
    """Of B pairs of maps, each (B,): what `likeness` found.

    overlap: share of the most important pixels that both maps have in common, in [0, 1]. correlation: Spearman's, in
    [-1, 1]. structure: SSIM of the maps over their own sums, in [-1, 1]. shift: between the centres of mass, pixels.
    All nan where one of the two maps is blank, the same strength everywhere: it says nothing that could be alike.
    """

    overlap: Tensor
    correlation: Tensor
    structure: Tensor
    shift: Tensor


def strength(heat: Tensor) -> Tensor:
    """How much each pixel matters, for or against: (B, 1, H, W), the magnitudes of heat (B, C, H, W) over channels."""
    return heat.detach().abs().sum(1, keepdim=True)


def likeness(first: Tensor, second: Tensor, *, share: float = SHARE) -> Likeness:
    """Compare the strengths of two batches of maps (B, C or 1, H, W) of the same images, sample by sample.

    share: of the pixels that count as most important, at least one. Magnitudes are compared, so that maps with and
    without signs are measured alike; no number depends on the scale of either map. Raises ValueError if rows or columns
    differ or share is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must be in (0, 1], got {share}")
    a, b = strength(first), strength(second)
    told = varies(a) & varies(b)
    return Likeness(
        overlap=top_k_overlap(a, b, max(1, round(share * a.shape[2] * a.shape[3]))),
        correlation=rank_correlation(a, b),
        structure=structural_similarity(_over_sum(a), _over_sum(b)).where(told, torch.nan),
        shift=centre_shift(a, b).where(told, torch.nan),
    )


def _over_sum(heat: Tensor) -> Tensor:
    total = heat.sum((1, 2, 3), keepdim=True)
    return heat / total.where(total > 0, heat.new_ones(()))
