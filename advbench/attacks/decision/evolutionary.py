"""Evolutionary attack: a (1+1)-evolution strategy with a diagonal covariance. Dong et al. 2019, arXiv:1904.04433."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from advbench.attacks.arguments import at_least_zero, positive
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.starting_point import find_start
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.norms import lengths, per_sample
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

_LEAST_SIDE = 8  # smaller images are searched in all their pixels
_WANTED = 0.2  # the one-fifth rule: the share of successes at which the pull stays as it is
_FORGET = 1 / 30  # weight of the latest answer in the share of successes
_RATE = 0.3  # how fast the pull follows that share
_PULLS = (1e-6, 0.5)  # least and largest


class Strategy(NamedTuple):
    """What the search of each sample (B,) has learned."""

    path: Tensor  # (B, C, h, w) its successful steps, fading
    variance: Tensor  # (B, C, h, w) diagonal of the covariance of its steps
    pull: Tensor  # step towards x, a part of the distance
    success: Tensor  # share of successes, fading


class Rates(NamedTuple):
    """How much one successful step counts in the path and in the variance."""

    path: float
    variance: float


@attack(norms=(2,), access="decision", paper="arXiv:1904.04433", minimum_norm=True, ratio=8.0, cost=(5000, 0))
def evolutionary(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    starts: Tensor | None = None,
    sigma: float = 0.1,
    pull: float = 0.01,
    path_rate: float = 0.01,
    variance_rate: float = 0.001,
    chosen: float = 0.05,
    resolution: float = 0.5,
) -> Tensor:
    """The nearest example (B, C, H, W) found with at most `queries` labels per sample, x itself where there is none.

    Each step moves the example by `pull` towards x and by a random image of length `sigma`, at most sqrt(2 * pull)
    (all parts of the distance), then onto the sphere around x that the pull alone would reach: whatever keeps the
    wanted label is nearer.
    The random image lives on a grid of `resolution` times the height and width (the paper's 112 of 224), in a share
    `chosen` of its components, drawn in proportion to the variances that past successes have taught (path_rate,
    variance_rate: the paper's c_c and c_cov); bilinear interpolation makes it large. The pull follows the share of
    successes by the one-fifth rule. Differs from the paper where that was nearer on three nets for MNIST and CIFAR-10
    (by 13 to 19 %): its sigma is 0.01 for each component, so that the random image grows with the image's side and is
    longer than the distance at 224 x 224; and it has no sphere. The share is that of about 30 steps, at a rate of 0.3.
    starts: images (B, C, H, W) to begin from, with the wanted label (another one than y, or y if targeted); random
    images otherwise. With a radius a sample rests once its example lies in the ball.
    Raises ConfigError if queries < 1, a length or a share is not positive, a share or a rate exceeds 1 or is below 0,
    or starts does not fit.
    """
    positive("sigma", sigma)
    rates = Rates(_share("path_rate", path_rate), _share("variance_rate", variance_rate))
    share = positive("chosen", _share("chosen", chosen))
    part = positive("resolution", _share("resolution", resolution))
    with frozen(model):
        inquiry = Inquiry(model, x, y, threat, targeted=targeted, queries=queries)
        find_start(inquiry, draws, starts)
        sides = [min(side, max(round(part * side), _LEAST_SIDE)) for side in x.shape[-2:]]
        flat = x.new_zeros(*x.shape[:-2], *sides)
        one = torch.ones_like(x.flatten(1).sum(1))  # (B,)
        state = Strategy(flat, flat + 1.0, positive("pull", pull) * one, _WANTED * one)
        step = 0
        while len(rows := inquiry.at_work()):
            old = Strategy(*(each[rows] for each in state))
            move = _move(old, share, draws.rows(rows), step)
            away = inquiry.kept.z[rows] - x[rows]
            noise = interpolate(move, x.shape[-2:], mode="bilinear")
            nearer = (1.0 - old.pull) * lengths(away, 2.0)  # (A,)
            # Back on the sphere, a step aside has come nearer to x by half its square: no more than the pull.
            aside = (2.0 * old.pull).sqrt().clamp_max(sigma)
            turned = per_sample(1.0 - old.pull, x) * away + _of_length(noise, aside * lengths(away, 2.0))
            z = x[rows] + _of_length(turned, nearer)
            hit = inquiry.look(z.clamp(threat.low, threat.high), rows)
            new = _learned(old, move, hit, rates)
            state = Strategy(*(all_.index_copy(0, rows, each) for all_, each in zip(state, new, strict=True)))
            step += 1
        return inquiry.answer()


def _of_length(delta: Tensor, length: Tensor) -> Tensor:
    """delta (A, ...) in its direction, of length (A,)."""
    now = lengths(delta, 2.0).clamp_min(torch.finfo(delta.dtype).tiny)
    return delta * per_sample(length / now, delta)


def _move(state: Strategy, share: float, draws: Draws, step: int) -> Tensor:
    """A random step (A, C, h, w) in a share of the components, each drawn in proportion to its variance."""
    shape = tuple(state.variance.shape[1:])
    noise = draws.uniform(shape, "choose", step).to(state.variance).flatten(1)
    # Weighted draws without replacement: the largest of log weight plus Gumbel noise.
    keys = state.variance.flatten(1).log() - (-(noise + 2.0**-26).log()).log()
    count = max(1, round(share * keys.shape[1]))
    chosen = torch.zeros_like(keys).scatter(1, keys.topk(count, 1).indices, 1.0).reshape(state.variance.shape)
    return chosen * state.variance.sqrt() * draws.normal(shape, "step", step).to(chosen)


def _learned(state: Strategy, move: Tensor, hit: Tensor, rates: Rates) -> Strategy:
    """The state after the answers (A,) to `move`: successes shape the variances, all answers the pull."""
    path = (1.0 - rates.path) * state.path + math.sqrt(rates.path * (2.0 - rates.path)) * move
    variance = (1.0 - rates.variance) * state.variance + rates.variance * path.square()
    success = (1.0 - _FORGET) * state.success + _FORGET * hit.to(state.success)
    pull = (state.pull * (_RATE * (success - _WANTED)).exp()).clamp(*_PULLS)
    won = hit.reshape(-1, *[1] * (path.dim() - 1))
    return Strategy(torch.where(won, path, state.path), torch.where(won, variance, state.variance), pull, success)


def _share(name: str, value: float) -> float:
    """`value`. Raises ConfigError unless it lies in [0, 1]."""
    if at_least_zero(name, value) > 1.0:
        raise ConfigError(f"{name} must be at most 1, got {value}")
    return value
