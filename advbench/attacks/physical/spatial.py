"""The worst turn and shift of the image. Engstrom et al. 2019, arXiv:1712.02779."""

from __future__ import annotations

import itertools
import math
from math import inf
from typing import Literal

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import Kept
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.search import search
from advbench.core.transforms import warp
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel


@attack(norms=(inf,), access="scores", paper="arXiv:1712.02779", unbounded=True, structured=True, cost=(776, 0))
def spatial(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    search_by: Literal["grid", "random"] = "grid",
    degrees: float = 30.0,
    shift: float = 0.1,
    angles: int = 31,
    shifts: int = 5,
    tries: int = 10,
    fill: float = 0.0,
) -> Tensor:
    """x_adv: x turned about its centre and moved; the first view that fools, else the one of the largest margin loss.

    degrees: the largest angle either way. shift: the largest move down and across, as a share of the image's sides.
    search_by "grid": `angles` angles and `shifts` moves in each direction, evenly spread from one end to the other,
    the farthest first: angles * shifts^2 queries, 775 by default as in the paper. "random": `tries` views, uniform
    in the same range (the paper's worst of 10). Bilinear; what comes in from outside has the value `fill`.
    The norm only measures: without a radius degrees and shift are the limits, with one each view is projected into the
    ball before the model sees it. Raises ConfigError if a number of views is below 1, degrees or shift is negative, or
    fill lies outside of the box.
    """
    for name, count in (("tries", tries), ("angles", angles), ("shifts", shifts)):
        at_least_one(name, count)
    furthest = math.radians(at_least_zero("degrees", degrees))
    reach = (at_least_zero("shift", shift) * x.shape[2], shift * x.shape[3])
    if not threat.low <= fill <= threat.high:
        raise ConfigError(f"fill must lie in [{threat.low:g}, {threat.high:g}], got {fill}")
    if search_by == "random":
        views = tries

        def place(rows: Tensor, i: int) -> Tensor:
            limits = torch.tensor([furthest, *reach], device=x.device)
            return limits * (2.0 * draws.rows(rows).uniform((3,), "view", i) - 1.0)
    else:
        table = _grid(furthest, reach, angles, shifts).to(x.device)
        views = len(table)

        def place(rows: Tensor, i: int) -> Tensor:
            return table[i].expand(len(rows), 3)

    project = within(threat, x)

    def propose(kept: Kept, rows: Tensor, i: int) -> Tensor:
        where = place(rows, i)
        return project(warp(x[rows], angle=where[:, 0], shift=where[:, 1:], fill=fill), rows)

    with frozen(model):
        return search(x, misclassify(model, y, targeted=targeted, loss=margin_loss), propose=propose, steps=views).z


def _grid(furthest: float, reach: tuple[float, float], angles: int, shifts: int) -> Tensor:
    """Every (angle, down, across) as a row, the farthest from (0, 0, 0) first: most samples that fall do so there."""
    axes = [_spread(furthest, angles), *(_spread(each, shifts) for each in reach)]
    table = torch.tensor(list(itertools.product(*axes)))
    share = table / torch.tensor([furthest, *reach]).clamp_min(1e-12)
    return table[share.square().sum(1).argsort(descending=True, stable=True)]


def _spread(limit: float, count: int) -> list[float]:
    """`count` values from -limit to limit; 0 alone if there is only one."""
    return torch.linspace(-limit, limit, count).tolist() if count > 1 else [0.0]
