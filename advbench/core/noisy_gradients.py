"""Gradients at noisy copies of an image: their mean and variance, one loop for all methods that average them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, fitting_piece, score_gradient, turns
from advbench.core.targets import Target
from advbench.types import ConfigError


class Moments(NamedTuple):
    """Of the gradients: mean and variance (mean squared deviation), both (B, C, H, W)."""

    mean: Tensor
    variance: Tensor


def noisy_gradients(
    model: nn.Module, x: Tensor, target: Target, draws: Draws | None, *, noise: float, samples: int
) -> Moments:
    """Moments of the score's gradient at x + e over `samples` draws of e, not clipped to the pixel range.

    e is Gaussian with a standard deviation of `noise` times the sample's own largest minus smallest value: none for an
    image of one value. Draws come in pairs, e and -e: what is odd in e cancels in the mean, for half the random
    numbers. Raises ConfigError if noise is negative or there is no sample.
    """
    if not noise >= 0 or samples < 1:
        raise ConfigError(f"noise must not be negative and samples at least 1, got noise={noise:g}, samples={samples}")
    x, rows = x.detach(), all_rows(x)
    source = Draws(0, rows) if draws is None else draws
    # One piece of the batch after the other: all that is made on the way stays in memory the allocator keeps.
    pieces = torch.split(rows, fitting_piece(x) or max(len(x), 1))
    with torch.no_grad(), frozen(model):
        needed = samples if noise > 0 else 1
        found = [_moments(model, x, target, source, part, noise=noise, samples=needed) for part in pieces]
    return Moments(*(torch.cat(each) for each in zip(*found, strict=True)))


def _moments(
    model: nn.Module, x: Tensor, target: Target, draws: Draws, rows: Tensor, *, noise: float, samples: int
) -> Moments:
    """Of the samples `rows` (A,) of x (B, C, H, W)."""
    x, source = x[rows], draws.rows(rows)
    flat = x.flatten(1)
    deviation = noise * (flat.amax(1) - flat.amin(1)).reshape(-1, 1, 1, 1)
    mean, spread, seen = torch.zeros_like(x), torch.zeros_like(x), 0
    for turn in turns(samples, len(x), fitting_piece(x)):
        drawn = {k // 2: source.normal(tuple(x.shape[1:]), "noise", k // 2).to(x) for k in turn}
        z = torch.stack([-drawn[k // 2] if k % 2 else drawn[k // 2] for k in turn])
        z.mul_(deviation).add_(x)  # (turn, A, C, H, W)
        grad = score_gradient(model, z.flatten(0, 1), target, rows.repeat(len(turn)))[1].reshape(z.shape)
        # Chan et al. 1979: means and squared deviations of two parts merge without cancellation.
        new = grad.mean(0)
        gap, together = new - mean, seen + len(turn)
        if len(turn) > 1:
            spread += (grad - new).square_().sum(0)
        mean += gap * (len(turn) / together)
        spread += gap.square_().mul_(seen * len(turn) / together)
        seen = together
    return Moments(mean, spread / seen)
