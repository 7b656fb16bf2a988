"""The end of a walk that does not settle on the boundary: onto it, as it looks from the nearest example."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.attacks.minimum_norm.approach import Move, Sight
from advbench.core.hyperplanes import Hyperplane, onto_hyperplane
from advbench.core.norms import per_sample
from advbench.core.step_rules import State
from advbench.types import ThreatModel

_LANDINGS = 4
_BEYOND = 1e-3  # share of the way by which a landing goes too far: on the boundary itself rounding decides


def then_land(move: Move, threat: ThreatModel, *, steps: int) -> Move:
    """`move`, but the last of `steps` points are landings; the first of them starts from the nearest example.

    A landing is the point nearest to x on the boundary as it would be if the loss were linear, in the box. Where the
    loss is linear between, that is the nearest example there is; elsewhere landings cost nothing but their passes,
    since the nearest example is kept.
    """
    first = steps - 1 - _LANDINGS

    def walk_and_land(sight: Sight, state: State, progress: float) -> tuple[Tensor, State]:
        i = round(progress * steps)
        if i < first - 1:
            return move(sight, state, progress)
        if i == first - 1:
            back = torch.as_tensor(per_sample(sight.found, sight.z))
            return torch.where(back, sight.best, sight.z), state
        plane = Hyperplane(sight.loss, sight.grad).moved(sight.x - sight.z)
        way = onto_hyperplane(sight.x, plane, threat.norm, threat.low, threat.high) - sight.x
        return (sight.x + (1.0 + _BEYOND) * way).clamp(threat.low, threat.high), state

    return walk_and_land
