"""ROAD, remove and debias: what leaves the image is continued from its surroundings. arXiv:2202.00449."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.linear_imputation import linear_imputation
from advbench.core.scoring import all_rows, scores_at, turns
from advbench.core.targets import Explained, Target, probability
from advbench.metrics.hiding import pixel_ranks

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Road(NamedTuple):
    """Scores once a share of the pixels is gone: fractions (S,), most_first and least_first (B, S), gap (B,); float64.

    gap: mean over the fractions of least_first - most_first, in units of the score. 0 is what a random order gives,
    large is good, below 0 the map has its order upside down.
    """

    fractions: Tensor
    most_first: Tensor
    least_first: Tensor
    gap: Tensor


def road(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    heat: Tensor,
    *,
    draws: Draws | None = None,
    fractions: Sequence[float] = FRACTIONS,
    noise: float = 0.01,
) -> Road:
    """The score of x (B, C, H, W) without its pixels of the largest heat, and without those of the smallest.

    A removed pixel becomes the weighted mean of its neighbours (`core.linear_imputation`) plus Gaussian noise of
    standard deviation `noise` in input units (as in the authors' published code), so that the mask can hardly be read
    off the image; no network is trained again. y: classes (B,), meaning their probability, or a target. heat (B, 1 or
    C, H, W): channels are summed as they stand, so take absolute values of a gradient first; equal pixels go in a
    random order from `draws`. fractions: shares of the pixels, each in (0, 1). The model is left as it came. Raises
    ValueError for other fractions, for noise < 0 and if heat does not fit x.
    """
    if not fractions or not all(0.0 < fraction < 1.0 for fraction in fractions) or noise < 0.0:
        raise ValueError(f"road needs fractions in (0, 1) and noise >= 0, got {list(fractions)} and {noise}")
    if heat.shape[:1] + heat.shape[2:] != x.shape[:1] + x.shape[2:]:
        raise ValueError(f"road: a map {tuple(heat.shape)} does not fit images {tuple(x.shape)}")
    draws = Draws(0, all_rows(x)) if draws is None else draws
    target = y if isinstance(y, Target) else probability(y)
    ranks, pixels = pixel_ranks(heat, draws), x.shape[2] * x.shape[3]
    counts = [round(fraction * pixels) for fraction in fractions]
    spans = [(0, count) for count in counts] + [(pixels - count, pixels) for count in counts]  # of ranks that go
    parts = []
    with frozen(model):
        for turn in turns(len(spans), len(x)):
            hidden = torch.cat([(ranks >= spans[i][0]) & (ranks < spans[i][1]) for i in turn])  # (T B, H, W)
            grain = torch.cat([draws.normal(tuple(x.shape[1:]), "road", i).to(x) for i in turn])
            continued = linear_imputation(x.detach().repeat(len(turn), 1, 1, 1), hidden)
            rest = torch.where(hidden[:, None], continued + noise * grain, continued)
            found = scores_at(model, rest, target, all_rows(x).repeat(len(turn)))
            parts.append(found.double().reshape(len(turn), len(x)))
    most_first, least_first = torch.split(torch.cat(parts).T, len(counts), dim=1)  # (B, S) each
    kept = torch.tensor(counts, device=x.device).double() / pixels
    return Road(kept, most_first, least_first, (least_first - most_first).mean(1))
