"""The loop of DeepFool: steps onto the linearised boundary until the label changes. Moosavi-Dezfooli et al. 2016."""

from __future__ import annotations

from torch import Tensor

from advbench.attacks.minimum_norm.linearise import Linearise
from advbench.core.gradients import evaluate
from advbench.core.hyperplanes import shortest_move
from advbench.core.keep import Kept, keep_better, keep_latest, nothing_kept
from advbench.core.objectives import Objective
from advbench.types import ThreatModel

# Added to each move, in input units, as in the authors' code: near the boundary, what the box cuts off a step would
# otherwise leave it on this side for ever.
_EXTRA = 1e-4

# After so many steps the next one starts from the overshot point: where a gradient has nearly vanished, the plain
# iteration can stay before the boundary. Measured on a net trained by PGD: 98 instead of 88 % of the samples arrive.
_PATIENCE = 10


def to_boundary(
    start: Tensor,
    rows: Tensor,
    threat: ThreatModel,
    *,
    objective: Objective,
    linearise: Linearise,
    overshoot: float,
    steps: int,
) -> Kept:
    """Where each of the samples `rows` (A,) first reaches the goal on its way from start (B, ...): a record (B, ...).

    Each step is the shortest move in the threat's norm onto the linearised boundary, cut by the box. What is looked at
    is the way so far, 1 + overshoot times as long, a sample leaves as soon as that has arrived.
    """
    kept, z = nothing_kept(start), start[rows]
    for i in range(steps):
        if not len(rows):
            break
        move = shortest_move(linearise(z, rows), threat.norm, extra=_EXTRA)
        z = (z + move).clamp(threat.low, threat.high)
        ahead = (z + overshoot * (z - start[rows])).clamp(threat.low, threat.high)
        seen = evaluate(objective, ahead, rows)
        kept = keep_better(kept, ahead, seen, rows, keep_latest)
        z = z if i < _PATIENCE else ahead
        if bool(seen.reached.any()):
            rows, z = rows[~seen.reached], z[~seen.reached]
    return kept
