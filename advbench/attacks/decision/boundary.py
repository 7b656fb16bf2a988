"""Boundary attack: a random walk along the boundary, towards x. Brendel et al. 2018, arXiv:1712.04248."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import positive
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.probing import random_unit, unit
from advbench.attacks.decision.starting_point import find_start
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.norms import per_sample
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

_CHECK_EVERY = 5  # steps between two questions about the sphere alone
_WINDOW = 10  # answers after which a step size is judged
_SPHERE = (0.2, 0.5)  # shares of successes below and above which both steps shrink and grow: about one half is aimed at
_SOURCE = (0.1, 0.25)  # the same for the step towards x, among all candidates


class Walk(NamedTuple):
    """Of each sample (B,): its two step sizes, and how many of how many recent answers were yes."""

    spherical: Tensor
    source: Tensor
    hits: Tensor  # (B, 2): on the sphere, towards x
    asked: Tensor  # (B, 2)


@attack(norms=(2,), access="decision", paper="arXiv:1712.04248", minimum_norm=True, ratio=8.0, cost=(5000, 0))
def boundary(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    starts: Tensor | None = None,
    spherical_step: float = 0.01,
    source_step: float = 0.01,
    step_adaptation: float = 1.5,
) -> Tensor:
    """The nearest example (B, C, H, W) found with at most `queries` labels per sample, x itself where there is none.

    Each step draws a direction on the sphere through the example around x, goes `spherical_step` along it and
    `source_step` towards x (parts of the distance), and stays there if the label is still the wanted one. Both sizes
    are multiplied or divided by `step_adaptation` according to each sample's own successes. starts: images (B, C, H, W)
    to begin from, with the wanted label (another one than y, or y if targeted); random images otherwise. With a radius
    a sample rests once its example lies in the ball.
    Raises ConfigError if queries < 1, a step is not positive, step_adaptation < 1 or starts does not fit.
    """
    if not 1.0 <= step_adaptation < inf:
        raise ConfigError(f"step_adaptation must be finite and at least 1, got {step_adaptation}")
    spherical, source = positive("spherical_step", spherical_step), positive("source_step", source_step)
    with frozen(model):
        inquiry = Inquiry(model, x, y, threat, targeted=targeted, queries=queries)
        find_start(inquiry, draws, starts)
        like = x.flatten(1).sum(1)  # (B,)
        none = torch.zeros(len(x), 2, dtype=torch.int64, device=x.device)
        walk = Walk(torch.full_like(like, spherical), torch.full_like(like, source), none, none)
        step = 0
        while len(rows := inquiry.at_work()):
            walk = _step(inquiry, walk, rows, draws, step)
            if step % _CHECK_EVERY == 0:
                walk = _adapted(walk, step_adaptation)
            step += 1
        return inquiry.answer()


def _step(inquiry: Inquiry, walk: Walk, rows: Tensor, draws: Draws, step: int) -> Walk:
    """One candidate for each of the rows (A,), after a question about the sphere alone every few steps."""
    x, threat = inquiry.x[rows], inquiry.threat
    away = inquiry.kept.z[rows] - x
    around = per_sample(walk.spherical[rows], x) * _across(random_unit(draws.rows(rows), x, "walk", step), away)
    turned = (away + around) / per_sample((1.0 + walk.spherical[rows].square()).sqrt(), x)  # as long as away
    hits, asked = walk.hits.clone(), walk.asked.clone()
    if step % _CHECK_EVERY == 0:
        hits[rows, 0] += inquiry.ask((x + turned).clamp(threat.low, threat.high), rows).long()
        asked[rows, 0] += 1
    nearer = (x + (1.0 - per_sample(walk.source[rows], x)) * turned).clamp(threat.low, threat.high)
    hits[rows, 1] += inquiry.look(nearer, rows).long()
    asked[rows, 1] += 1
    return Walk(walk.spherical, walk.source, hits, asked)


def _across(u: Tensor, away: Tensor) -> Tensor:
    """The part of u (A, ...) that is orthogonal to away (A, ...), as long as away; 0 where there is none."""
    dot, square = (u * away).flatten(1).sum(1), away.square().flatten(1).sum(1)
    rest = u - per_sample(dot / square.clamp_min(torch.finfo(u.dtype).tiny), u) * away
    return unit(rest) * per_sample(square.sqrt(), u)


def _adapted(walk: Walk, factor: float) -> Walk:
    """The walk with new sizes where enough answers have come in; their count begins again there."""
    share = walk.hits / walk.asked.clamp_min(1)  # (B, 2)
    full = walk.asked >= _WINDOW
    limits = share.new_tensor([_SPHERE, _SOURCE])  # (2, 2)
    grows, shrinks = full & (share > limits[:, 1]), full & (share < limits[:, 0])
    change = torch.where(grows, factor, torch.where(shrinks, 1.0 / factor, 1.0)).to(walk.source)
    source = (walk.source * change.prod(1)).clamp_max(0.5)
    return Walk(walk.spherical * change[:, 0], source, walk.hits * ~full, walk.asked * ~full)
