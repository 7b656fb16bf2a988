"""Between x and an example: the point of the segment where the example begins."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.core.gradients import evaluate
from advbench.core.keep import Kept, near_enough
from advbench.core.norms import per_sample
from advbench.core.objectives import Objective, slack_of
from advbench.types import ThreatModel

_NUDGE = 0.05  # how far past the root that a straight line predicts, in parts of the way to the example
_FURTHER = 1e-3  # where an example that is none of the firm ones is looked at again, at least, in parts of the way


def pull_back(
    objective: Objective,
    x: Tensor,
    loss_at_x: Tensor,
    kept: Kept,
    *,
    threat: ThreatModel,
    steps: int,
    slack: Tensor | None = None,
) -> Kept:
    """The record (B, ...) with each example moved towards x (B, ...), as far as `steps` more evaluations find it can.

    The objective's loss must be zero on the boundary and loss_at_x (B,) its value at x. Regula falsi with the Illinois
    rule (Dowell and Jarratt 1971), aimed a little past the root. An example that is not below the boundary by slack
    (B,; None: that of loss_at_x, see `core.objectives`) is first looked for a little further out, inside the box.
    Samples without example, or with one that is near enough for the threat, are not looked at; in l0 none is, since a
    shorter way changes as many components.
    """
    if threat.norm == 0:
        return kept
    rows = (kept.reached & ~near_enough(kept, x, threat)).nonzero()[:, 0]
    if not len(rows):
        return kept
    centre, way = x[rows], kept.z[rows] - x[rows]
    inside, outside = torch.zeros_like(loss_at_x[rows]), torch.ones_like(loss_at_x[rows])  # fractions of the way
    at_inside, at_outside = loss_at_x[rows], kept.loss[rows].clone()
    loss, last = kept.loss[rows], torch.zeros_like(inside)
    least = (slack_of(loss_at_x) if slack is None else slack)[rows]
    further = (2.0 * least / at_inside.abs()).nan_to_num(nan=0.0, posinf=1.0).clamp(_FURTHER, 1.0)
    for i in range(steps):
        root = inside + (outside - inside) * (at_inside / (at_inside - at_outside)).nan_to_num(nan=0.5).clamp(0.0, 1.0)
        middle = root + _NUDGE * (outside - root)
        out = (loss >= -least) & (i == 0)
        middle = torch.where(out, 1.0 + further, middle)
        point = (centre + way * torch.as_tensor(per_sample(middle.to(x.dtype), x))).clamp(threat.low, threat.high)
        found = evaluate(objective, point, rows)
        firm = found.reached & (found.loss < -least)
        side = torch.where(firm, 1.0, -1.0).to(last.dtype)
        # The Illinois rule: an end that stays twice counts half, or else it might stay for ever.
        again = torch.where(side == last, 0.5, 1.0).to(last.dtype)
        back = ~firm & ~out
        at_inside = torch.where(back, found.loss, torch.where(firm, at_inside * again, at_inside))
        at_outside = torch.where(firm, found.loss, torch.where(back, at_outside * again, at_outside))
        inside, outside = torch.where(back, middle, inside), torch.where(firm, middle, outside)
        loss, last = torch.where(firm, found.loss, loss), side
    z = (centre + way * torch.as_tensor(per_sample(outside.to(x.dtype), x))).clamp(threat.low, threat.high)
    return Kept(kept.z.index_copy(0, rows, z), kept.loss.index_copy(0, rows, loss), kept.reached)
