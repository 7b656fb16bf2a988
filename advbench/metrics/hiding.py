"""Hiding an image pixel by pixel in the order of a map: the curve of the score, for deletion and insertion.

Petsiuk et al. 2018, arXiv:1806.07421, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.blank import blank
from advbench.core.draws import Draws
from advbench.core.fill_in import filled_in
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, scores_at, turns
from advbench.core.targets import Explained, Target, probability


class Curve(NamedTuple):
    """The score along the way: fractions (S + 1,) of the pixels changed, score (B, S + 1), and its area (B,).

    Both float64. The area is by the trapezoid rule over the fractions that were really changed.
    """

    fractions: Tensor
    score: Tensor
    area: Tensor


def pixel_ranks(heat: Tensor, draws: Draws | None = None) -> Tensor:
    """(B, H, W) int64: 0 for the pixel where heat (B, C, H, W), summed over its channels, is largest, H W - 1 for the
    least. Equal pixels come in a random order of each sample, from `draws` (seed 0, samples 0 .. B - 1)."""
    draws = Draws(0, all_rows(heat)) if draws is None else draws
    flat = heat.detach().double().sum(1).flatten(1)  # (B, H W)
    shuffle = draws.words(flat.shape[1], "ties").argsort(stable=True, dim=1)
    order = flat.gather(1, shuffle).argsort(stable=True, dim=1, descending=True)
    order = shuffle.gather(1, order)
    places = torch.arange(flat.shape[1], device=heat.device).expand_as(order)
    return torch.zeros_like(order).scatter(1, order, places).reshape(-1, *heat.shape[2:])


def hiding_curve(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    ranks: Tensor,
    *,
    way: Literal["delete", "insert"],
    steps: int,
    baseline: float | str,
    sigma: float,
    normalise: bool,
) -> Curve:
    """The score while the pixels of rank (B, H, W) 0, 1, ... are hidden one share after the other, or shown again.

    Parameters as in `deletion`. Raises ValueError if steps < 1 or ranks do not fit x.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if ranks.shape != (len(x), *x.shape[2:]):
        raise ValueError(f"a map of {tuple(ranks.shape[1:])} pixels does not fit images {tuple(x.shape)}")
    target = y if isinstance(y, Target) else probability(y)
    counts = _counts(x.shape[2] * x.shape[3], steps)
    with frozen(model):
        hide = _hider(x.detach(), baseline, sigma)
        parts = []
        for turn in turns(len(counts), len(x)):
            masks = [ranks < counts[i] if way == "delete" else ranks >= counts[i] for i in turn]
            mixed = torch.cat([hide(mask) for mask in masks])
            found = scores_at(model, mixed, target, all_rows(x).repeat(len(turn)))
            parts.append(found.double().reshape(len(turn), len(x)))
    score = torch.cat(parts).T  # (B, S + 1)
    fractions = torch.tensor(counts, device=x.device).double() / max(1, x.shape[2] * x.shape[3])
    if normalise:
        shown, hidden = (score[:, 0], score[:, -1]) if way == "delete" else (score[:, -1], score[:, 0])
        score = _between(score, hidden[:, None], shown[:, None])
    return Curve(fractions, score, torch.trapezoid(score, fractions, dim=1))


def _hider(x: Tensor, baseline: float | str, sigma: float) -> Callable[[Tensor], Tensor]:
    """Hidden pixels (B, H, W) bool -> x (B, C, H, W) with something else in their place."""
    if baseline == "surroundings":
        return lambda hidden: filled_in(x, hidden)
    other = blank(x, baseline, sigma)
    return lambda hidden: torch.where(hidden[:, None], other, x)


def _counts(pixels: int, steps: int) -> list[int]:
    """How many pixels are changed after each step, 0 .. pixels; the same steps read from either end."""
    half = [round(pixels * i / steps) for i in range(steps // 2 + 1)]
    return [half[i] if 2 * i <= steps else pixels - half[steps - i] for i in range(steps + 1)]


def _between(score: Tensor, hidden: Tensor, shown: Tensor) -> Tensor:
    """0 at the score of the hidden image, 1 at that of the image, clipped to [0, 1]; nan where nothing is lost."""
    gap = shown - hidden
    return torch.where(gap > 0, ((score - hidden) / torch.where(gap > 0, gap, 1.0)).clamp(0.0, 1.0), torch.nan)
