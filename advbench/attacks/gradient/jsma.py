"""Jacobian saliency map attack: pairs of components pushed to the edge. Papernot et al. 2016, arXiv:1511.07528."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import positive
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, evaluate, frozen
from advbench.core.keep import keep_better, keep_latest, nearest_found, nothing_kept
from advbench.core.losses import runners_up
from advbench.core.objectives import Objective
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_CANDIDATES = 256  # components whose pairs are compared: many more than a front of two numbers has
_LEAST_MOVE = 1e-3  # of the box's width: a component takes up to a thousand steps


@attack(norms=(0,), access="gradient", paper="arXiv:1511.07528", unbounded=True, revision=2)
def jsma(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    theta: float = 1.0,
    gamma: float = 0.145,
) -> Tensor:
    """x_adv: x after the first steps that reach the goal, each of which moves a pair of components by theta.

    theta: in units of the box's width, up if positive, down if negative; 1 moves to the edge at once. gamma: the share
    of components that may be moved, 14.5 % in the paper; with a radius its eps is the limit instead. One that is moved
    again, as theta below 1 allows, counts once. A step takes the pair (p, q) with the greatest -a b, where a > 0 is
    the sum of their derivatives of the target's logit and b < 0 that of the logarithm of the summed exponentials of all
    other logits; without such a pair, the two with the greatest a - b. The paper sums the other classes' derivatives,
    where classes that do not matter weigh as much as the one in the lead: on MNIST that takes three times as many
    components. (Probabilities have a = -b, so that the second part of the map says nothing, and vanish where the net is
    sure.) A component at the edge is out. A sample is done when no other is left: when all are there, or all that were
    moved and no more may be. Where just one more may be, steps take a single component. Untargeted, the target is the
    highest other class of the moment. Where the goal is not reached, x. `draws` is not used.
    Raises ConfigError if theta is not in [-1, 1] or nearer to 0 than 0.001, or gamma is not positive.
    """
    if not _LEAST_MOVE <= abs(theta) <= 1:
        raise ConfigError(f"theta must be in [-1, 1] and {_LEAST_MOVE} or more from 0, got {theta}")
    share = positive("gamma", gamma)
    limit = share * math.prod(x.shape[1:]) if threat.eps is None else threat.eps
    count, width = max(int(limit), 1 if threat.eps is None else 0), threat.high - threat.low
    aim, others = _logits(model, y, targeted, of_target=True), _logits(model, y, targeted, of_target=False)
    kept, rows = nothing_kept(x), torch.arange(len(x), device=x.device)
    with frozen(model):
        kept = keep_better(kept, x, evaluate(aim, x, rows), rows, keep_latest)
        rows = (~kept.reached).nonzero()[:, 0]
        z = x[rows]
        while len(rows):
            evaluation, rise = backprop(aim, z, rows)
            kept = keep_better(kept, z, evaluation, rows, keep_latest)
            free, last = _allowed(z, x[rows], threat, theta, count)
            left = ~evaluation.reached & free.any(1)
            rows, z, rise, free, last = rows[left], z[left], rise[left], free[left], last[left]
            if not len(rows):
                break
            fall = -backprop(others, z, rows)[1]
            rise, fall = (math.copysign(1.0, theta) * grad.flatten(1) for grad in (rise, fall))
            chosen = torch.where(last, _salient(rise, fall, free, 1), _salient(rise, fall, free, 2))
            z = torch.where(chosen.reshape(z.shape), (z + theta * width).clamp(threat.low, threat.high), z)
    return nearest_found(kept, x, threat)


def _allowed(z: Tensor, x: Tensor, threat: ThreatModel, theta: float, count: int) -> tuple[Tensor, Tensor]:
    """Which components (A, D) of z (A, ...) may move, away from the edge and `count` in all, moved ones among them.

    The second (A, 1): may just one more be moved?
    """
    moved = (z != x).flatten(1)
    more = count - moved.sum(1, keepdim=True)  # (A, 1)
    free = (z < threat.high) if theta > 0 else (z > threat.low)
    return free.flatten(1) & (moved | (more > 0)), more == 1


def _logits(model: nn.Module, y: Tensor, targeted: bool, *, of_target: bool) -> Objective:
    """The logit of the class to reach, or the smooth maximum of all others; reached as usual."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, labels = model(z), y[rows]
        alone = targeted or logits.shape[1] == 1
        target = labels[:, None] if alone else runners_up(logits.detach(), labels, 1)  # (A, 1)
        score = logits.gather(1, target)[:, 0]
        others = logits.scatter(1, target, -torch.inf).logsumexp(1)
        return Evaluation(score if of_target else others, (logits.argmax(1) == labels) == targeted)

    return objective


def _salient(rise: Tensor, fall: Tensor, free: Tensor, count: int) -> Tensor:
    """Mask (A, D) of the most salient `count` (1 or 2) of the `free` components (A, D), fewer where there are fewer.

    rise, fall (A, D): what moving a component adds to the target's logit and takes from the others'.
    """
    rise, fall = rise.masked_fill(~free, -torch.inf), fall.masked_fill(~free, -torch.inf)
    together = rise + fall
    best = together.topk(min(count, together.shape[1]), dim=1).indices  # (A, count): where no saliency is positive
    if count == 1 or together.shape[1] == 1:
        single = torch.where((rise > 0) & (fall > 0), rise * fall, 0.0)
        value, index = single.max(1, keepdim=True)
        best = torch.where(value > 0, index, best[:, :1])
    else:
        place = _front(rise, fall)  # (A, M)
        a, c = rise.gather(1, place), fall.gather(1, place)
        a, c = a[:, :, None] + a[:, None], c[:, :, None] + c[:, None]  # (A, M, M)
        saliency = torch.where((a > 0) & (c > 0), a * c, 0.0)
        saliency.diagonal(dim1=1, dim2=2).zero_()
        value, index = saliency.flatten(1).max(1, keepdim=True)
        size = place.shape[1]
        pair = place.gather(1, torch.cat([index // size, index % size], 1))
        best = torch.where(value > 0, pair, best)
    return torch.zeros_like(free).scatter(1, best, True) & free


def _front(rise: Tensor, fall: Tensor) -> Tensor:
    """Positions (A, M) of components among which the best pair is: those that at most one other beats in both numbers.

    In a pair, one that two others beat could be replaced by one of them. Sorted by falling `rise`, the components that
    remain have a `fall` above the second largest before them.
    """
    order = rise.argsort(dim=1, descending=True, stable=True)
    c = fall.gather(1, order)
    none = torch.full_like(c[:, :1], -torch.inf)
    largest = torch.cat([none, c.cummax(1).values[:, :-1]], 1)
    second = torch.cat([none, torch.minimum(c, largest).cummax(1).values[:, :-1]], 1)
    beaten = (c <= second).to(torch.int8).argsort(dim=1, stable=True)[:, :_CANDIDATES]
    return order.gather(1, beaten)
