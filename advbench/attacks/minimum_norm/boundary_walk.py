"""The loop that `fab` and `fab_t` share: steps onto the linearised boundary that keep x in sight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.attacks.minimum_norm.linearise import Linearise
from advbench.core.draws import Counter, Draws
from advbench.core.gradients import evaluate
from advbench.core.hyperplanes import Hyperplane, onto_hyperplane
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import Objective
from advbench.core.sampling import in_ball
from advbench.types import ThreatModel

# Radius of random starts in [0, 1] where neither a radius nor an example is known: the defaults of the reference.
_START = {1.0: 5.0, 2.0: 1.0, torch.inf: 0.3}


@dataclass(frozen=True)
class Walk:
    """How far the steps go: the parameters of algorithm 1 of arXiv:1907.02044."""

    steps: int
    alpha_max: float
    eta: float
    beta: float


def walk(
    kept: Kept,
    start: Tensor,
    x: Tensor,
    threat: ThreatModel,
    *,
    objective: Objective,
    linearise: Linearise,
    how: Walk,
) -> Kept:
    """The record (B, ...) after a walk from start (B, ...).

    Each step goes past the boundary's nearest point to z, drawn towards its nearest point to x (B, ...). From an
    adversarial point the walk goes on nearer to x. A sample leaves once its example is in the ball.
    """
    low, high, norm = threat.low, threat.high, threat.norm
    keep = keep_nearest(x, norm)
    rows, z = torch.arange(len(x), device=x.device), start
    for _ in range(how.steps):
        far = ~near_enough(Kept(kept.z[rows], kept.loss[rows], kept.reached[rows]), x[rows], threat)
        if not bool(far.all()):
            rows, z = rows[far], z[far]
        if not len(rows):
            break
        centre = x[rows]
        plane = linearise(z, rows)
        both = Hyperplane(*(torch.cat(parts) for parts in zip(plane, plane.moved(centre - z), strict=True)))
        origins = torch.cat([z, centre])
        moves = onto_hyperplane(origins, both, norm, low, high) - origins
        from_z, from_x = moves.chunk(2)
        near, far_off = (lengths(move, norm).clamp_min(1e-8) for move in (from_z, from_x))
        share = torch.as_tensor(per_sample((near / (near + far_off)).clamp_max(how.alpha_max), z))
        z = ((1.0 - share) * (z + how.eta * from_z) + share * (centre + how.eta * from_x)).clamp(low, high)
        evaluation = evaluate(objective, z, rows)
        kept = keep_better(kept, z, evaluation, rows, keep)
        back = torch.as_tensor(per_sample(torch.where(evaluation.reached, how.beta, 1.0).to(z.dtype), z))
        z = centre + back * (z - centre)
    return kept


def somewhere(x: Tensor, kept: Kept, threat: ThreatModel, draws: Draws, *, run: Counter) -> Tensor:
    """A point of the box (B, ...) from the sphere around x of half the radius, or half of what was found if less."""
    width = threat.high - threat.low
    known = threat.eps if threat.eps is not None else _START[threat.norm] * width
    found = torch.where(kept.reached, lengths(kept.z - x, threat.norm), torch.inf)
    radius = 0.5 * (found if threat.eps is None else found.clamp_max(known))
    radius = torch.where(radius.isinf(), 0.5 * known, radius)
    direction = in_ball(x, threat.at(width), draws, counter=run).to(x.dtype)
    length = lengths(direction, threat.norm).clamp_min(torch.finfo(x.dtype).tiny)
    return (x + direction * torch.as_tensor(per_sample(radius / length, x))).clamp(threat.low, threat.high)
