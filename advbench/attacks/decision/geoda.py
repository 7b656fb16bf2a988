"""GeoDA: the boundary as a plane, its normal from probes of low frequency. Rahmati et al. 2020, arXiv:2003.06468."""

from __future__ import annotations

import math
from math import inf, sqrt

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.decision.hop_skip_jump import jump
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.probing import View, probe, unit
from advbench.attacks.decision.starting_point import find_start, to_boundary
from advbench.core.bisection import bisect
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.hyperplanes import Hyperplane, onto_hyperplane
from advbench.core.norms import lengths, per_sample
from advbench.registry import attack
from advbench.types import ThreatModel

_FINE = 1e-4  # tolerance of the bisection, of the distance to the plane
_LEAST_SIDE = 8  # smaller images are probed in all their frequencies
_OVERHEAD = 15  # labels that a turn spends beside its probes, about
_LEAST = 0.02  # of the distance to its point: how near x a plane is believed to be
_FARTHEST = 40.0  # distances to the plane, before the turn is given up


@attack(norms=(1, 2, inf), access="decision", paper="arXiv:2003.06468", minimum_norm=True, ratio=4.0, cost=(5000, 0))
def geoda(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    starts: Tensor | None = None,
    turns: int = 8,
    decay: float = 0.6,
    frequencies: float = 1 / 3,
) -> Tensor:
    """The nearest example (B, C, H, W) found with at most `queries` labels per sample, x itself where there is none.

    Each of the `turns` estimates the normal of the boundary at its point from random images of the lowest `frequencies`
    (a part of height and width; 1/3 is the paper's 75 of 224), moves x onto the plane with that normal, to the nearest
    point in the norm and in the box, and farther or nearer the same way until it lies on the boundary. A turn has
    decay^(-2/3) as many probes as the one before. queries: the paper has up to 20,000. starts: images (B, C, H, W) to
    begin from, with the wanted label (another one than y, or y if targeted); random images otherwise. With a radius
    a sample rests once its example lies in the ball.
    Raises ConfigError if a number is below 1, decay or frequencies is not positive or starts does not fit.
    """
    at_least_one("turns", turns), positive("frequencies", frequencies)
    growth = positive("decay", decay) ** (-2.0 / 3.0)
    bases = [_cosines(side, frequencies, x) for side in x.shape[-2:]]
    with frozen(model):
        inquiry = Inquiry(model, x, y, threat, targeted=targeted, queries=queries)
        find_start(inquiry, draws, starts, relative=_FINE)
        z = inquiry.kept.z.clone()
        for turn in range(turns):
            rows = inquiry.at_work()
            if not len(rows):
                break
            share = 1.0 / sum(growth**later for later in range(turns - turn))
            count = ((inquiry.left(rows) * share).long() - _OVERHEAD).clamp_min(1)
            view = _view(z[rows], x[rows], bases, draws.rows(rows), threat)
            normal = probe(inquiry, rows, count, turn, view).normal().to(x)
            z[rows], met = _onto_boundary(inquiry, z[rows], unit(normal), rows)
            # Where the goal's region is too narrow to be met that way, the turn ends as one of HopSkipJump does.
            lost = rows[~met]
            far = jump(inquiry, z[lost], unit(normal)[~met], lost, turn + 1)
            z[lost] = to_boundary(inquiry, far, lost, _FINE)
        return inquiry.answer()


def _cosines(side: int, frequencies: float, like: Tensor) -> Tensor:
    """The lowest frequencies of the cosine transform of `side` values, orthonormal columns (side, count)."""
    count = min(side, max(round(frequencies * side), _LEAST_SIDE))
    place, k = torch.arange(side, dtype=torch.float64) + 0.5, torch.arange(count, dtype=torch.float64)
    waves = torch.cos(math.pi / side * place[:, None] * k) * torch.where(k > 0, 2.0 / side, 1.0 / side).sqrt()
    return waves.to(like)


def _view(z: Tensor, x: Tensor, bases: list[Tensor], draws: Draws, threat: ThreatModel) -> View:
    """Random images around z (A, ...), that differ from it in low frequencies."""
    rows, columns = bases
    shape = (*z.shape[1:-2], rows.shape[1], columns.shape[1])
    radius = 2.0 * sqrt(max(math.prod(shape), 1)) * _FINE * lengths(z - x, 2.0)

    def view(who: Tensor, counter: Tensor) -> tuple[Tensor, Tensor]:
        u = unit(rows @ draws.rows(who).normal(shape, "probe", counter).to(z) @ columns.T)
        return u, (z[who] + per_sample(radius[who], z) * u).clamp(threat.low, threat.high)

    return view


def _onto_boundary(inquiry: Inquiry, z: Tensor, normal: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Where moving x towards the plane through z (A, ...) with this normal meets the boundary, and does it (A,)?

    z where it does not.
    """
    x, threat = inquiry.x[rows], inquiry.threat
    # (A,) x lies on this side of the boundary; an estimate that says otherwise, or hardly so, must not stop the move.
    distance = (normal * (z - x)).flatten(1).sum(1).abs().maximum(_LEAST * lengths(z - x, 2.0))

    def way(t: Tensor, at: Tensor) -> Tensor:
        plane = Hyperplane(-t * distance[at], normal[at])
        return onto_hyperplane(x[at], plane, threat.norm, threat.low, threat.high)

    low, high = torch.zeros_like(distance), torch.ones_like(distance)
    todo, found = torch.arange(len(rows), device=rows.device), torch.zeros_like(rows, dtype=torch.bool)
    t = 1.0
    while len(todo) and t <= _FARTHEST:
        hit = inquiry.look(way(torch.full_like(distance[todo], t), todo), rows[todo])
        found[todo] = hit
        high[todo] = t
        low[todo] = torch.where(hit, low[todo], t)
        todo, t = todo[~hit], 1.25 * t
    at = torch.nonzero(found)[:, 0]
    s = bisect(inquiry.look, lambda t, part: way(t, at[part]), rows[at], low=low[at], high=high[at], relative=_FINE)
    return z.index_copy(0, at, way(s, at)), found
