"""Augmented Lagrangian attack: distance plus a penalty that learns its weight. Rony et al. 2021, arXiv:2011.11857."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.minimum_norm.approach import Move, Sight, approach
from advbench.attacks.minimum_norm.landing import then_land
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.length_gradient import length_gradient
from advbench.core.losses import Loss, margin
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import misclassify
from advbench.core.step_rules import State
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

# Section 4 of the paper.
_TOLERANCE = 1e-4  # logits: how far beyond the boundary the constraint asks for
_CHECK_EVERY = 10  # steps between looks at whether the constraint has improved
_IMPROVED = 0.95  # to this share
_GROWTH = 1.2  # of rho where it has not
_MU = (1e-6, 1e12)
_LAST_STEP = 0.01  # share of the first step size


@attack(norms=(1, 2), access="gradient", paper="arXiv:2011.11857", minimum_norm=True, ratio=1.05, cost=(1001, 999))
def alma(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 1000,
    memory: float = 0.9,
    step_size: float = 0.1,
    first_distance: float | None = None,
) -> Tensor:
    """x_adv: the nearest adversarial point of `steps` points on the way of descent, x itself if none is adversarial.

    Minimised is the distance plus the penalty P2 of the constraint, the margin over the difference of logits ratio's
    denominator. Its multiplier mu follows the penalty's slope with `memory`, its rho grows by 1.2 at every tenth step
    that has not brought the constraint down by 5 %, until a first example is found. Steps are those of RMSProp with
    momentum, both with `memory`, of size step_size until then, and falling to a hundredth afterwards; first_distance
    chooses the size instead such that the first step goes that far in the threat's norm. With a radius in `threat`, a
    sample is left alone once its example lies within it. memory: 0.9 for 1000 steps, 0.5 for 100 (section 4 of the
    paper). Differs from the paper in the last steps, which go straight to the boundary (see `landing`); `draws` is not
    used.
    Raises ConfigError if steps < 1, memory is not in [0, 1) or a step is not positive.
    """
    if not 0 <= memory < 1:
        raise ConfigError(f"memory must be in [0, 1), got {memory}")
    first = positive("step_size", step_size)
    if first_distance is not None:
        positive("first_distance", first_distance)

    def init(centre: Tensor) -> State:
        one = torch.ones_like(centre.flatten(1)[:, 0])
        return (one, one, one, first * one, (steps + 1.0) * one, torch.ones_like(centre), torch.zeros_like(centre))

    move = _walk(threat, steps, memory, first_distance)
    with frozen(model):
        objective = misclassify(model, y, targeted=targeted, loss=_constraint(targeted))
        return approach(
            x,
            objective,
            threat,
            steps=at_least_one("steps", steps),
            init=init,
            move=then_land(move, threat, steps=steps),
        )


def _walk(threat: ThreatModel, steps: int, memory: float, first_distance: float | None) -> Move:
    def move(sight: Sight, state: State, progress: float) -> tuple[Tensor, State]:
        mu, rho, before, rate, since, square, speed = state
        step = round(progress * steps)
        if step == 0:
            before, weight = sight.loss, _slope(sight.loss, rho, mu)
            grad = sight.grad * torch.as_tensor(per_sample(weight, sight.grad))
            if first_distance is not None:
                rate = _rate(sight.x, grad, threat, first_distance)
        else:
            if (step + 1) % _CHECK_EVERY == 0:
                rho = torch.where(sight.found | (sight.loss < _IMPROVED * before), rho, _GROWTH * rho)
                before = sight.loss
            mu = (memory * mu + (1.0 - memory) * _slope(sight.loss, rho, mu)).clamp(*_MU)
            weight = torch.as_tensor(per_sample(_slope(sight.loss, rho, mu), sight.grad))
            grad = length_gradient(sight.z - sight.x, threat.norm) + weight * sight.grad
        since = torch.where(sight.found & (since > step), float(step), since)  # the step of the first example
        decay = _LAST_STEP ** ((step - since).clamp_min(0.0) / (steps - since))
        square = memory * square + (1.0 - memory) * grad.square()
        speed = memory * speed + grad / (square.sqrt() + 1e-8)
        z = (sight.z - speed * torch.as_tensor(per_sample(rate * decay, speed))).clamp(threat.low, threat.high)
        return z, (mu, rho, before, rate, since, square, speed)

    return move


def _constraint(targeted: bool) -> Loss:
    """Difference of logits ratio; `misclassify` makes it negative where the goal is met by more than the tolerance.

    With too few classes for the denominator, the plain difference.
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        gap = -margin(logits, y) - (-_TOLERANCE if targeted else _TOLERANCE)
        need = 4 if targeted else 3
        if logits.shape[1] < need:
            return gap
        top = logits.topk(need, dim=1).values
        return gap / (top[:, 0] - top[:, 2:].mean(1) + 1e-8)

    return loss


def _slope(y: Tensor, rho: Tensor, mu: Tensor) -> Tensor:
    """Derivative by y of P2: mu y + mu rho y^2 + rho^2 y^3 / 6 for y >= 0, mu y / (1 - rho y) for y < 0."""
    inside = mu / (1.0 - rho * y.clamp_max(0.0)).square()
    return torch.where(y >= 0, mu + 2.0 * mu * rho * y + 0.5 * rho.square() * y.square(), inside)


def _rate(x: Tensor, grad: Tensor, threat: ThreatModel, distance: float) -> Tensor:
    """Factor (A,) with which a step against grad goes `distance` inside the box, at most 2^20, by bisection."""
    low = torch.zeros_like(x.flatten(1)[:, 0])
    high = torch.full_like(low, 2.0**20)
    for _ in range(50):
        middle = (low * high).sqrt().where(low > 0, high * 2.0**-10)
        moved = (x - grad * torch.as_tensor(per_sample(middle, x))).clamp(threat.low, threat.high) - x
        far = lengths(moved, threat.norm) > distance
        low, high = torch.where(far, low, middle), torch.where(far, middle, high)
    return 0.5 * (low + high)
