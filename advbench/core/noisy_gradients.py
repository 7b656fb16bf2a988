"""Gradients at noisy copies of an image: their mean, and their variance."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, fitting_piece, row_pieces, score_gradient, turns
from advbench.core.summed_gradient import summed_gradient
from advbench.core.targets import Target
from advbench.types import ConfigError

# Random numbers cost a fifth of a small network's pass, mirroring nothing.
_MIRRORS = ((), (3,), (2,), (2, 3))  # dimensions of (A, C, H, W) that are turned round
_GROUP = 2 * len(_MIRRORS)  # copies that share a draw


class Moments(NamedTuple):
    """Of the gradients: mean and variance (mean squared deviation), both (B, C, H, W)."""

    mean: Tensor
    variance: Tensor


def mean_noisy_gradient(
    model: nn.Module,
    x: Tensor,
    target: Target,
    draws: Draws | None,
    *,
    noise: float,
    samples: int,
    entry: str | None = None,
) -> Tensor:
    """Mean of the score's gradient at x + e over `samples` draws of e, not clipped to the pixel range: (B, C, H, W).

    e is Gaussian with a standard deviation of `noise` times the sample's own largest minus smallest value: none for an
    image of one value. Eight copies share a draw: e and its mirror images, each with both signs, are all draws of the
    same noise, and what is odd in e cancels in each pair. entry: see `summed_gradient`. Raises ConfigError if noise is
    negative or infinite, or there is no sample.
    """
    with torch.no_grad(), frozen(model):
        means = []
        for rows, copies in _pieces(x, draws, noise, samples, group=_GROUP):
            weighted = ((z, z.new_full((len(z),), 1 / _needed(noise, samples))) for z in copies)
            means.append(summed_gradient(model, target, rows, weighted, entry))
    return torch.cat(means)


def noisy_gradients(
    model: nn.Module, x: Tensor, target: Target, draws: Draws | None, *, noise: float, samples: int
) -> Moments:
    """Moments of the score's gradient at `samples` draws of that noise, each on its own, with the same errors.

    Copies that share a draw, as in `mean_noisy_gradient`, would know less of the variance.
    """
    with torch.no_grad(), frozen(model):
        pieces = _pieces(x, draws, noise, samples, group=1)
        found = [_moments(model, target, rows, copies) for rows, copies in pieces]
    return Moments(*(torch.cat(each) for each in zip(*found, strict=True)))


def _needed(noise: float, samples: int) -> int:
    """Copies without noise are all the same."""
    return samples if noise > 0 else 1


def _pieces(
    x: Tensor, draws: Draws | None, noise: float, samples: int, group: int
) -> Iterator[tuple[Tensor, Iterator[Tensor]]]:
    """Rows of x and their copies (T, A, C, H, W), a piece of the batch after the other.

    All that is made of a piece on the way stays in memory the allocator keeps.
    """
    if not 0 <= noise < inf or samples < 1:
        raise ConfigError(
            f"noise must be finite and not negative and samples at least 1, got noise={noise:g}, samples={samples}"
        )
    source = Draws(0, all_rows(x)) if draws is None else draws
    for part in row_pieces(x):
        yield part, _copies(x[part].detach(), source.rows(part), noise, _needed(noise, samples), group)


def _copies(x: Tensor, draws: Draws, noise: float, samples: int, group: int) -> Iterator[Tensor]:
    """`group` copies after each other share a draw."""
    flat = x.flatten(1)
    deviation = noise * (flat.amax(1) - flat.amin(1)).reshape(-1, 1, 1, 1)
    drawn: dict[int, Tensor] = {}
    for turn in turns(samples, len(x), fitting_piece(x)):
        drawn = {
            number: drawn[number]
            if number in drawn
            else draws.normal(tuple(x.shape[1:]), "noise", number).to(x) * deviation
            for number in range(turn.start // group, (turn.stop - 1) // group + 1)
        }
        yield torch.stack([_copy(x, drawn[k // group], k % group) for k in turn])


def _copy(x: Tensor, noise: Tensor, member: int) -> Tensor:
    mirrored = noise.flip(_MIRRORS[member // 2])
    return x - mirrored if member % 2 else x + mirrored


def _moments(model: nn.Module, target: Target, rows: Tensor, copies: Iterator[Tensor]) -> Moments:
    mean, spread, seen = torch.zeros(()), torch.zeros(()), 0
    for z in copies:
        grad = score_gradient(model, z.flatten(0, 1), target, rows.repeat(len(z)))[1].reshape(z.shape)
        # Chan et al. 1979: means and squared deviations of two parts merge without cancellation.
        new = grad.mean(0)
        gap, together = new - mean, seen + len(z)
        spread = spread + (grad - new).square_().sum(0) + gap.square() * (seen * len(z) / together)
        mean = mean + gap * (len(z) / together)
        seen = together
    return Moments(mean, spread / seen)
