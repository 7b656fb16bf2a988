"""The loop that all controls share: draw, put into the box, keep the best."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import when_reached
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.core.search import search
from advbench.types import ConfigError, ThreatModel

Draw = Callable[[Tensor, Draws, int], Tensor]  # (x (A, ...), their draws, number of the try) -> delta in the ball


def best_draw(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    draw: Draw,
    *,
    draws: Draws,
    targeted: bool,
    tries: int,
    rescale: bool,
    early_stop: bool,
) -> Tensor:
    """The best of `tries` points x + delta, clipped to the box: the first that meets the goal, or the nearest to it.

    Near by the victim's margin: logit of y minus the best other (the reverse if `targeted`). x itself does not compete.
    One try is one forward pass of the samples that still hold; without early_stop, of all samples, so that the hits
    among the passes estimate how much of the sphere is bad. Raises ConfigError if threat.eps is None or tries < 1.
    """
    if tries < 1:
        raise ConfigError(f"tries must be at least 1, got {tries}")

    def point(rows: Tensor, i: int) -> Tensor:
        start = x[rows]
        delta = draw(start, draws.rows(rows), i).to(x.dtype)
        if rescale:
            delta = stretched(delta, start, threat)
        return (start + delta).clamp(threat.low, threat.high)

    with frozen(model):
        return search(
            point(torch.arange(len(x), device=x.device), 0),
            misclassify(model, y, targeted=targeted, loss=margin_loss),
            propose=lambda kept, rows, i: point(rows, i + 1),
            steps=tries - 1,
            stop=when_reached if early_stop else None,
        ).z


def stretched(delta: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """delta (B, ...) times the factor that gives it back, after the box, the length it has before; at least 1.

    Where the box does not allow that length in this direction, the result goes to the box's end in every component.
    l1 and l2: exact, by sorting the factors at which the components meet the box. linf and l0: delta as it is, since a
    corner of the cube and a set of flipped components lose their length only if no component has room for it.
    """
    if threat.norm not in (1.0, 2.0):
        return delta
    p, size = threat.norm, delta.flatten(1).abs().double()
    room = torch.where(delta > 0, threat.high - x, x - threat.low).flatten(1).double()
    meets = torch.where(size > 0, room / size, inf)  # (B, D) the factor that brings a component to the box
    meets, order = meets.sort(1)
    stuck, free = room.gather(1, order).pow(p), size.gather(1, order).pow(p)
    stuck = stuck.cumsum(1) - stuck  # l_p mass of the components that met the box before this one
    free = free.flip(1).cumsum(1).flip(1)  # mass, before scaling, of this one and all later ones
    wanted = size.pow(p).sum(1, keepdim=True)  # (B, 1)
    factor = ((wanted - stuck).clamp_min(0.0) / free.clamp_min(torch.finfo(free.dtype).tiny)).pow(1.0 / p)
    fits = (factor <= meets) & (free > 0)  # true from the segment on that holds the solution
    last = torch.where(torch.isfinite(meets), meets, 0.0).amax(1, keepdim=True)
    first = factor.gather(1, fits.int().argmax(1, keepdim=True))
    chosen = torch.where(fits.any(1, keepdim=True), first, last).clamp_min(1.0)
    return (delta.flatten(1).double() * chosen).to(delta.dtype).reshape(delta.shape)
