"""Primal-dual (proximal) gradient descent, with Adam. Matyasko and Chau 2021, arXiv:2106.01538."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.minimum_norm.approach import Sight, approach
from advbench.attacks.minimum_norm.landing import then_land
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.length_gradient import length_gradient
from advbench.core.losses import margin_loss
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import misclassify
from advbench.core.projections import project_l1
from advbench.core.step_rules import State
from advbench.registry import attack
from advbench.types import ThreatModel

_DECAY = (0.9, 0.999)  # of Adam
_LAST_PRIMAL = 0.01  # share of the first step size, reached exponentially
_LAST_DUAL = 0.1  # and linearly
_DUAL_MEMORY = 0.9
_FIRST_RATIO = 0.01  # weight of the distance over that of the constraint
_LEAST_RATIO = 1e-6  # and its limits
_PROXIMAL_STEPS = 5
_SETTLED = 0.01  # relative change that ends the proximal steps: arXiv:1910.10094


@attack(
    norms=(0, 1, 2, inf),
    access="gradient",
    paper="arXiv:2106.01538",
    minimum_norm=True,
    ratio=1.05,
    cost=(501, 499),
)
def pdpgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 500,
    step_size: float = 0.1,
    dual_step: float = 0.1,
) -> Tensor:
    """x_adv: the nearest adversarial point of `steps` points on the way of descent, x itself if none is adversarial.

    A step is one of Adam on softplus(margin), of step_size (input units) falling exponentially to a hundredth, and then
    the proximal step of the distance with Adam's metric, 5 iterations at most. The weights of distance and constraint
    are the softmax of dual variables: that of the constraint rises by dual_step, falling linearly to a tenth, where the
    goal is missed, and falls where it is met (the paper's PDPGD and its defaults). l0 takes the proximal step of
    |d|^(2/3), summed. l2, whose gradient exists, is put into Adam's step instead (the paper's PDGD): on MNIST it gets a
    tenth nearer. With a radius in `threat`, a sample is left alone once its example lies within it. Differs from the
    paper in the last steps, which go straight to the boundary (see `landing`); `draws` is not used.
    Raises ConfigError if steps < 1 or a step is not positive.
    """
    first, dual_first = positive("step_size", step_size), positive("dual_step", dual_step)
    last, limit = max(steps - 1, 1), -math.log(_LEAST_RATIO)
    primal = _gradient_step if threat.norm == 2 else _proximal_step

    def move(sight: Sight, state: State, progress: float) -> tuple[Tensor, State]:
        z, moments = primal(sight, state, first * _LAST_PRIMAL**progress, round(progress * steps) + 1, threat=threat)
        dual, weight = state[:2]
        turn = dual_first * ((1.0 - progress * steps / last) * (1.0 - _LAST_DUAL) + _LAST_DUAL)
        dual = (dual + torch.where(sight.reached, -turn, turn)).clamp(-limit, limit)
        weight = _DUAL_MEMORY * weight + (1.0 - _DUAL_MEMORY) * dual.sigmoid()  # the softmax of (0, dual)
        return z, (dual, weight, *moments)

    def init(centre: Tensor) -> State:
        dual = torch.full_like(centre.flatten(1)[:, 0], -math.log(_FIRST_RATIO))
        return (dual, dual.sigmoid(), torch.zeros_like(centre), torch.zeros_like(centre))

    with frozen(model):
        objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
        return approach(
            x,
            objective,
            threat,
            steps=at_least_one("steps", steps),
            init=init,
            move=then_land(move, threat, steps=steps),
        )


def _gradient_step(
    sight: Sight, state: State, size: float, count: int, *, threat: ThreatModel
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Adam's step on the weighted sum of length and constraint, into the box, and Adam's moments."""
    weight = torch.as_tensor(per_sample(state[1], sight.z))
    grad = (1.0 - weight) * length_gradient(sight.z - sight.x, threat.norm) + weight * _constraint_gradient(sight)
    move, metric, moments = _adam(grad, state[2:], count)
    return (sight.z - size * move / metric).clamp(threat.low, threat.high), moments


def _proximal_step(
    sight: Sight, state: State, size: float, count: int, *, threat: ThreatModel
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Adam's step on the constraint, into the box, then towards x in Adam's metric; and Adam's moments."""
    move, metric, moments = _adam(_constraint_gradient(sight), state[2:], count)
    delta = (sight.z - size * move / metric).clamp(threat.low, threat.high) - sight.x
    coarsest = metric.flatten(1).amax(1)  # (A,)
    shrink = (1.0 - state[1]) / state[1] * size / coarsest
    metric = metric / torch.as_tensor(per_sample(coarsest, metric))
    proximal = _PROXIMAL[threat.norm]
    z, at_work = delta, torch.ones_like(shrink, dtype=torch.bool)
    for _ in range(_PROXIMAL_STEPS):
        shorter = proximal(z - metric * (z - delta), shrink)
        shorter = (sight.x + shorter).clamp(threat.low, threat.high) - sight.x
        shorter = torch.where(torch.as_tensor(per_sample(at_work, z)), shorter, z)
        at_work = at_work & (lengths(shorter - z, 2.0) > _SETTLED * lengths(shorter, 2.0))
        z = shorter
    return (sight.x + z).clamp(threat.low, threat.high), moments


def _constraint_gradient(sight: Sight) -> Tensor:
    """Of softplus(margin)."""
    return sight.grad * torch.as_tensor(per_sample(sight.loss.sigmoid(), sight.grad))


def _adam(grad: Tensor, moments: State, count: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Mean of the gradients and what Adam divides it by, both like grad (A, ...); the new moments."""
    mean = _DECAY[0] * moments[0] + (1.0 - _DECAY[0]) * grad
    square = _DECAY[1] * moments[1] + (1.0 - _DECAY[1]) * grad.square()
    metric = (square / (1.0 - _DECAY[1] ** count)).sqrt() + 1e-8
    return mean / (1.0 - _DECAY[0] ** count), metric, (mean, square)


def _two_thirds(delta: Tensor, weight: Tensor) -> Tensor:
    """Of the sum of |z|^(2/3), in closed form. Cao, Sun and Xu 2013, doi:10.1016/j.jvcir.2012.10.006."""
    scale = (2.0 * torch.as_tensor(per_sample(weight, delta))).double()
    size = delta.abs().double()
    kept = size > (2.0 / 3.0) * (3.0 * scale**3) ** 0.25
    angle = torch.acosh((27.0 / 16.0 * size.square() * scale**-1.5).clamp_min(1.0))
    a = 2.0 / math.sqrt(3.0) * scale**0.25 * torch.cosh(angle / 3.0).sqrt()
    root = ((a + (2.0 * size / a - a.square()).clamp_min(0.0).sqrt()) / 2.0) ** 3
    return torch.where(kept, root.to(delta.dtype) * delta.sign(), torch.zeros_like(delta))


def _soft(delta: Tensor, weight: Tensor) -> Tensor:
    return delta.sign() * (delta.abs() - torch.as_tensor(per_sample(weight, delta))).clamp_min(0.0)


def _largest(delta: Tensor, weight: Tensor) -> Tensor:
    return delta - project_l1(delta, weight)  # Moreau: what is left of the dual ball's projection


# (delta (A, ...), weight (A,)) -> the z of least weight * length(z) + |z - delta|^2 / 2
_PROXIMAL: dict[float, Callable[[Tensor, Tensor], Tensor]] = {0.0: _two_thirds, 1.0: _soft, inf: _largest}
