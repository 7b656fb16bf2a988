"""Sign-OPT: descent on the distance to the boundary by signs of its slopes. Cheng et al. 2019, arXiv:1909.10773."""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.probing import View, probe, random_unit, unit
from advbench.attacks.decision.starting_point import find_start
from advbench.core.bisection import close_in, way_towards
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.norms import lengths, per_sample
from advbench.registry import attack
from advbench.types import ThreatModel

_COARSE = 1e-3  # of the distance: what a turn of the direction must gain
_TURNS = 15  # tried sizes of a turn


@attack(norms=(2, inf), access="decision", paper="arXiv:1909.10773", minimum_norm=True, ratio=5.0, cost=(5000, 0))
def sign_opt(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    starts: Tensor | None = None,
    directions: int = 200,
    alpha: float = 0.2,
    beta: float = 0.001,
) -> Tensor:
    """The nearest example (B, C, H, W) found with at most `queries` labels per sample, x itself where there is none.

    Each turn asks, for `directions` directions that differ by `beta` (a part of the distance) from the one of the
    example, whether the boundary is nearer there, and goes along the mean of these directions times the answers, 1 or
    -1: first by `alpha` (a part of the distance), by twice as much after each gain, by a quarter after a failure; the
    sample's next turn begins with the size that was right. Unlike the paper: the answers are taken less their mean, as
    in arXiv:1904.02144 (on two MNIST nets 271 of 441 examples come nearer than by their mean as it is); an example is
    clipped to the box before its direction counts; linf turns along the mean, not its sign, and clips what exceeds the
    radius, which comes nearer on MNIST (0.063, not 0.086). queries: the paper has 20,000. starts: images (B, C, H, W)
    to begin from, with the wanted label (another one than y, or y if targeted); random images otherwise. With a radius
    a sample rests once its example lies in the ball.
    Raises ConfigError if a number is below 1, alpha or beta is not positive or starts does not fit.
    """
    at_least_one("directions", directions)
    positive("alpha", alpha)
    positive("beta", beta)
    size = max(x[:1].numel(), 1)
    fine = beta / (size if threat.norm == inf else sqrt(size))  # far less than a probe changes the margin by
    with frozen(model):
        inquiry = Inquiry(model, x, y, threat, targeted=targeted, queries=queries)
        find_start(inquiry, draws, starts)
        step = torch.full_like(x.flatten(1).sum(1), alpha)  # (B,)
        turn = 0
        while len(rows := inquiry.at_work()):
            _close_in(inquiry, inquiry.kept.z[rows], rows, fine)
            away = inquiry.kept.z[rows] - x[rows]
            count = torch.full_like(rows, directions)
            view = _view(x[rows], away, beta, draws.rows(rows), threat)
            normal = probe(inquiry, rows, count, turn, view).normal().to(x)
            new, gained = _turn(inquiry, away, normal, step[rows], rows)
            step[rows] = torch.where(gained, new.clamp_max(1.0), alpha)
            turn += 1
        return inquiry.answer()


def _view(x: Tensor, away: Tensor, beta: float, draws: Draws, threat: ThreatModel) -> View:
    """Images as far from x (A, ...) as x + away, in directions a little beside it."""
    long = lengths(away, 2.0)

    def view(who: Tensor, counter: Tensor) -> tuple[Tensor, Tensor]:
        u = random_unit(draws.rows(who), x, "probe", counter)
        beside = away[who] + per_sample(beta * long[who], x) * u
        z = x[who] + unit(beside) * per_sample(long[who], x)
        return u, z.clamp(threat.low, threat.high)

    return view


def _turn(inquiry: Inquiry, away: Tensor, normal: Tensor, step: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the directions away (A, ...) towards normal as long as that gains: the last useful step, has any gained?

    step (A,): size of the first turn.
    """
    x, threat = inquiry.x[rows], inquiry.threat
    turned = _TURNED[threat.norm]
    step, gained = step.clone(), torch.zeros_like(rows, dtype=torch.bool)
    todo = torch.arange(len(rows), device=rows.device)
    for _ in range(_TURNS):
        todo = todo[inquiry.left(rows[todo]) > 0]
        if not len(todo):
            break
        at = rows[todo]
        reach = (1.0 - _COARSE) * lengths(inquiry.kept.z[at] - x[todo], threat.norm)
        direction = turned(away[todo], normal[todo], step[todo])
        z = (x[todo] + per_sample(reach, x) * direction).clamp(threat.low, threat.high)
        hit = inquiry.look(z, at)
        _close_in(inquiry, z[hit], at[hit], _COARSE)
        over = ~hit & gained[todo]  # the step before was the right one
        step[todo] *= torch.where(hit, 2.0, torch.where(over, 0.5, 0.25)).to(x)
        gained[todo] |= hit
        todo = todo[~over & (step[todo] > _COARSE)]  # a shorter turn cannot gain enough
    return step, gained


def _turned_l2(away: Tensor, normal: Tensor, step: Tensor) -> Tensor:
    """Directions (A, ...) of length 1 between away and normal."""
    return unit(unit(away) + per_sample(step, away) * unit(normal))


def _turned_linf(away: Tensor, normal: Tensor, step: Tensor) -> Tensor:
    """Directions (A, ...) with components in [-1, 1]: away moved along normal, whose mean size is made 1."""
    tiny = torch.finfo(away.dtype).tiny
    mean = normal.flatten(1).abs().mean(1).clamp_min(tiny)
    along = normal * torch.as_tensor(per_sample(step / mean, away))
    return (away / per_sample(lengths(away, inf).clamp_min(tiny), away) + along).clamp(-1.0, 1.0)


_TURNED = {2.0: _turned_l2, inf: _turned_linf}


def _close_in(inquiry: Inquiry, z: Tensor, rows: Tensor, relative: float) -> None:
    """Look for nearer examples on the way from x to the examples z (A, ...) of `rows`."""
    x, norm = inquiry.x[rows], inquiry.threat.norm
    close_in(inquiry.look, way_towards(z, x, norm), rows, high=lengths(z - x, norm), relative=relative)
