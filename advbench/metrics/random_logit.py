"""The random-logit test: a map that looks the same for another class explains neither. arXiv:1912.09818."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.scoring import all_rows
from advbench.metrics.map_similarity import rank_correlation, structural_similarity, varies
from advbench.metrics.randomisation import strength

Explainer = Callable[[Tensor], Tensor]  # classes (B,) -> the maps (B, C, H, W) of the same images for them


class OtherLogit(NamedTuple):
    """The maps of the classes asked for beside those of `other` (B,), a random other class of each sample.

    correlation, similarity: (B,) rank correlation and SSIM, 1 where the class makes no difference; nan where a map is
    level, as where the other class is silent: there is nothing to compare. score: mean correlation of the others, nan
    if there is none.
    """

    other: Tensor
    correlation: Tensor
    similarity: Tensor
    score: float


def random_logit(explain: Explainer, y: Tensor, classes: int, *, draws: Draws | None = None) -> OtherLogit:
    """How alike the maps of y (B,) are to those of another class, drawn for each sample from all `classes` others.

    explain: from classes to the maps of the same B images, by one method and model. As in `randomisation` the absolute
    values are compared, summed over the channels, for SSIM divided by their largest; the paper looks at SSIM. Raises
    ValueError for fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"random_logit needs two classes or more, got {classes}")
    draws = Draws(0, all_rows(y)) if draws is None else draws
    other = (y + 1 + draws.integers(classes - 1, (), "random logit").to(y.device)) % classes
    first, second = strength(explain(y)), strength(explain(other))
    correlation = rank_correlation(first, second)
    similarity = structural_similarity(first, second).where(varies(first) & varies(second), torch.nan)
    return OtherLogit(other, correlation, similarity, float(correlation.nanmean()))
