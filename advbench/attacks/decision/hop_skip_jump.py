"""HopSkipJump: the boundary's normal estimated from labels, then a jump. Chen et al. 2019, arXiv:1904.02144."""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.probing import View, probe, random_unit, unit
from advbench.attacks.decision.starting_point import find_start, to_boundary
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.norms import lengths, per_sample
from advbench.registry import attack
from advbench.types import ThreatModel

_COARSEST = 1e-3  # of the distance: the tolerance of the bisection where the paper's is larger, on very small images
_LEAST_PROBE = 0.03  # of the distance: how far probes go where the paper's are shorter
_FIRST_RADIUS = 0.1  # of the box: how far the first probes go
_OVERHEAD = 30  # labels that a turn spends beside its probes, about
_HALVINGS = 25  # of the length of a jump, before the sample stays where it is


@attack(norms=(2, inf), access="decision", paper="arXiv:1904.02144", minimum_norm=True, ratio=2.5, cost=(5000, 0))
def hop_skip_jump(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    starts: Tensor | None = None,
    first_probes: int = 100,
    most_probes: int = 10_000,
    gamma: float = 1.0,
) -> Tensor:
    """The nearest example (B, C, H, W) found with at most `queries` labels per sample, x itself where there is none.

    Each turn probes around a point of the boundary, min(first_probes * sqrt(turn), most_probes) times, goes from it
    along the estimated normal (linf: its sign) by distance / sqrt(turn), halved until adversarial, and bisects back
    towards x. gamma: tolerance of the bisection, a part gamma / D^1.5 of the distance (linf: gamma / D^2); the radius
    of the probes follows from it, but is at least 3 % of the distance (in l2 at most sqrt(D) / 1000 of it: 1.1 % with
    120 components, 2.8 % on MNIST): on large images the paper's probes move a component by less than float32 can tell,
    and their labels are noise (the distance on 224 x 224 was up to five times as large). The last turn takes what
    queries are left. queries: fewer than the paper's 25,000, which only lengthen the same schedule.
    starts: images (B, C, H, W) to begin from, with the wanted label (another one than y, or y if targeted); random
    images otherwise. With a radius a sample rests once its example lies in the ball.
    Raises ConfigError if a number is below 1, gamma is not positive or starts does not fit.
    """
    at_least_one("most_probes", most_probes)
    at_least_one("first_probes", first_probes)
    positive("gamma", gamma)
    size, norm = max(x[:1].numel(), 1), threat.norm
    root = size if norm == inf else sqrt(size)
    fine = min(max(gamma / (size * root), _LEAST_PROBE / root), _COARSEST)
    with frozen(model):
        inquiry = Inquiry(model, x, y, threat, targeted=targeted, queries=queries)
        find_start(inquiry, draws, starts)
        z = inquiry.kept.z.clone()
        radius = torch.full_like(x.flatten(1).sum(1), _FIRST_RADIUS * (threat.high - threat.low))  # (B,)
        turn = 0
        while len(rows := inquiry.at_work()):
            turn += 1
            probes = min(int(first_probes * sqrt(turn)), most_probes)
            # What would be left for half a turn at most goes into this one.
            left = inquiry.left(rows) - _OVERHEAD
            count = torch.where(left < 1.5 * probes, left.clamp_min(1), probes)
            normal = probe(inquiry, rows, count, turn, _view(z[rows], radius[rows], draws.rows(rows), threat)).normal()
            normal = normal.to(x)
            far = jump(inquiry, z[rows], normal.sign() if norm == inf else unit(normal), rows, turn)
            radius[rows] = root * fine * lengths(far - x[rows], norm)
            z[rows] = to_boundary(inquiry, far, rows, fine)
        return inquiry.answer()


def _view(z: Tensor, radius: Tensor, draws: Draws, threat: ThreatModel) -> View:
    """Random images at distance radius (A,) of z (A, ...), as far as the box allows, and their directions."""

    def view(who: Tensor, counter: Tensor) -> tuple[Tensor, Tensor]:
        own, step = draws.rows(who), per_sample(radius[who], z)
        if threat.norm == inf:
            u = unit(2.0 * own.uniform(tuple(z.shape[1:]), "probe", counter).to(z) - 1.0)
        else:
            u = random_unit(own, z, "probe", counter)
        near = (z[who] + step * u).clamp(threat.low, threat.high)
        return (near - z[who]) / step, near  # the box changes the direction: what was asked counts

    return view


def jump(inquiry: Inquiry, z: Tensor, move: Tensor, rows: Tensor, turn: int) -> Tensor:
    """z (A, ...) moved by distance / sqrt(turn), halved until the goal is reached; z itself where it never is."""
    threat, far = inquiry.threat, z.clone()
    step = lengths(z - inquiry.x[rows], threat.norm) / sqrt(turn)  # (A,)
    todo = torch.arange(len(rows), device=rows.device)
    for _ in range(_HALVINGS):
        todo = todo[inquiry.left(rows[todo]) > 0]
        if not len(todo):
            break
        tried = (z[todo] + per_sample(step[todo], z) * move[todo]).clamp(threat.low, threat.high)
        hit = inquiry.look(tried, rows[todo])
        far[todo[hit]] = tried[hit]
        step[todo] /= 2.0
        todo = todo[~hit]
    return far
