"""RayS: a search over sign vectors for the ray that meets the boundary first. Chen and Gu 2020, arXiv:2006.12792."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import positive
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.starting_point import find_start
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.norms import lengths
from advbench.registry import attack
from advbench.types import ThreatModel


class Rays(NamedTuple):
    """Where the search of each sample (B,) stands: its best ray, the block on trial, what is known of that trial."""

    signs: Tensor  # (B, D) the best ray
    radius: Tensor  # how far along it the example lies
    level: Tensor  # the ray is cut into 2**level blocks
    block: Tensor  # the one that the ray on trial turns round
    high: Tensor  # the ray on trial is adversarial here; inf until that is known
    low: Tensor  # and is not here; 0 until that is known


@attack(norms=(inf,), access="decision", paper="arXiv:2006.12792", minimum_norm=True, ratio=3.0, cost=(5000, 0))
def rays(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    starts: Tensor | None = None,
    tolerance: float = 1e-3,
) -> Tensor:
    """The nearest example (B, C, H, W) found with at most `queries` labels per sample, x itself where there is none.

    An example is x + radius * signs, clipped to the box. The signs of one block of components at a time are turned
    round: 1 block, then 2, 4, ... down to single components. Where that is adversarial at the present radius the new
    ray is kept and its radius found to within `tolerance`, a part of the radius. Unlike the paper, whose tolerance is
    0.001 of the box, from far to near in leaps that double: most gains are small, and the labels saved bring it nearer
    (by a fifth in the median on MNIST). queries: the paper has 10,000. The first ray points up everywhere, or else
    down, or anywhere. starts: images (B, C, H, W) whose direction from x is the first ray instead. With a radius a
    sample rests once its example lies in the ball.
    Raises ConfigError if queries < 1, tolerance is not positive or starts does not fit.
    """
    positive("tolerance", tolerance)
    with frozen(model):
        inquiry = Inquiry(model, x, y, threat, targeted=targeted, queries=queries)
        find_start(inquiry, draws, starts, corners=True)
        state = _first(inquiry)
        while len(rows := inquiry.at_work()):
            trial = Rays(*(each[rows] for each in state))
            signs, t = _turned(trial), _place(trial, tolerance)
            z = (x[rows].flatten(1) + t[:, None] * signs).clamp(threat.low, threat.high)
            hit = inquiry.look(z.reshape(-1, *x.shape[1:]), rows)
            new = _after(trial, signs, t, hit, tolerance)
            state = Rays(*(old.index_copy(0, rows, each) for old, each in zip(state, new, strict=True)))
        return inquiry.answer()


def _first(inquiry: Inquiry) -> Rays:
    """The rays on which the starting examples lie."""
    x, z = inquiry.x.flatten(1), inquiry.kept.z.flatten(1)
    middle = (inquiry.threat.low + inquiry.threat.high) / 2.0
    # A component at an end of the box that did not move: its sign points out of the box.
    signs = torch.where(z == x, torch.where(x > middle, 1.0, -1.0), (z - x).sign()).to(x)
    radius = lengths(z - x, inf)
    none = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Rays(signs, radius, none, none, torch.full_like(radius, inf), torch.zeros_like(radius))


def _turned(trial: Rays) -> Tensor:
    """The rays on trial (A, D): the best ones with one block turned round."""
    place = torch.arange(trial.signs.shape[1], device=trial.level.device)
    inside = place // _width(trial)[:, None] == trial.block[:, None]  # (A, D)
    return torch.where(inside, -trial.signs, trial.signs)


def _width(trial: Rays) -> Tensor:
    """Components in a block (A,), rounded up."""
    return -(-trial.signs.shape[1] // 2**trial.level)


def _place(trial: Rays, tolerance: float) -> Tensor:
    """Where along the ray on trial to ask (A,): the present radius, then leaps inwards, then halves."""
    leap = 2.0 * (trial.radius - trial.high) + tolerance * trial.radius
    half = (trial.low + trial.high) / 2.0
    inwards = torch.where(trial.low == 0, torch.maximum(half, trial.high - leap), half)
    return torch.where(trial.high == inf, trial.radius, inwards)


def _after(trial: Rays, signs: Tensor, t: Tensor, hit: Tensor, tolerance: float) -> Rays:
    """The state once the answer at t (A,) on the rays on trial is known."""
    high, low = torch.where(hit, t, trial.high), torch.where(hit, trial.low, t)
    lost = high == inf
    found = ~lost & (high - low <= tolerance * trial.radius)
    done, size = lost | found, trial.signs.shape[1]
    last = done & ((trial.block + 1) * _width(trial) >= size)
    return Rays(
        torch.where(found[:, None], signs, trial.signs),
        torch.where(found, high, trial.radius),
        (trial.level + last).clamp_max((size - 1).bit_length()),
        torch.where(last, 0, trial.block + done),
        torch.where(done, inf, high),
        torch.where(done, 0.0, low),
    )
