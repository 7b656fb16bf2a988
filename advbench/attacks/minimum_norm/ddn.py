"""Decoupled direction and norm: gradient steps on a sphere that shrinks. Rony et al. 2019, arXiv:1811.09600."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.minimum_norm.approach import Move, Sight, approach
from advbench.core.devices import time_to_check
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.log_odds import log_odds
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import misclassify
from advbench.core.step_rules import Schedule, State, cosine
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel


@attack(norms=(2,), access="gradient", paper="arXiv:1811.09600", minimum_norm=True, ratio=1.05, cost=(101, 99))
def ddn(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 100,
    gamma: float = 0.05,
    first_radius: float = 1.0,
) -> Tensor:
    """x_adv: the nearest adversarial point of `steps` points on spheres around x, x itself if none is adversarial.

    A step of length 1 at first, 0.01 at last goes along the gradient's direction; the point is then moved to a sphere,
    whose radius starts at first_radius (input units) and changes by the share `gamma` at each step: down from an
    adversarial point, up from another (algorithm 1 of the paper; no quantisation). 100 steps of 5 % go down from 1 to
    0.006: start lower where boundaries are nearer. With a radius in `threat`, a sample is left alone once its example
    lies within it. Differs from the paper where cross entropy saturates: the log odds have the same gradient direction
    and keep it. A gradient of zero is replaced by a random direction from `draws`.
    Raises ConfigError if steps < 1, gamma is not in (0, 1) or first_radius is not positive.
    """
    if not 0 < gamma < 1:
        raise ConfigError(f"gamma must be between 0 and 1, got {gamma}")
    start = positive("first_radius", first_radius)
    with frozen(model):
        return approach(
            x,
            misclassify(model, y, targeted=targeted, loss=log_odds),
            threat,
            steps=at_least_one("steps", steps),
            init=lambda centre: (
                torch.full_like(centre.flatten(1)[:, 0], start),
                torch.zeros(len(centre), dtype=torch.bool, device=centre.device),
            ),
            move=_on_a_sphere(threat, draws, steps, gamma, cosine(1.0, 0.01)),
        )


def _on_a_sphere(threat: ThreatModel, draws: Draws, steps: int, gamma: float, size: Schedule) -> Move:
    """The state: each sample's radius, and whether its gradient was zero when that was last asked."""
    directions = _Directions(draws)

    def move(sight: Sight, state: State, progress: float) -> tuple[Tensor, State]:
        furthest = lengths(torch.maximum(sight.x - threat.low, threat.high - sight.x), 2.0)
        factor = torch.where(sight.reached, 1.0 - gamma, 1.0 + gamma).to(state[0].dtype)
        radius = torch.minimum(state[0] * factor, furthest)  # (A,)
        direction, flat = directions.of(sight, state[1], round(progress * steps))
        delta = sight.z - sight.x - size(progress) * direction
        length = lengths(delta, 2.0).clamp_min(torch.finfo(delta.dtype).tiny)
        delta = delta * torch.as_tensor(per_sample(radius / length, delta))
        return (sight.x + delta).clamp(threat.low, threat.high), (radius, flat)

    return move


class _Directions:
    """Each sample's gradient at length 1, or a random direction where it is zero."""

    def __init__(self, draws: Draws) -> None:
        self.draws, self.any_flat = draws, False

    def of(self, sight: Sight, known: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The directions, and which samples (A,) were flat when that was last asked; `known`: the same before.

        One that has become flat since then has no direction until that is asked again: only its radius changes.
        """
        grad, length = sight.grad, lengths(sight.grad, 2.0)
        flat = length == 0  # (A,)
        if time_to_check(step, grad):
            known, self.any_flat = flat, bool(flat.any())
        if self.any_flat:
            noise = self.draws.rows(sight.rows).normal(tuple(grad.shape[1:]), "flat gradient", step).to(grad)
            grad = torch.where(torch.as_tensor(per_sample(flat & known, grad)), noise, grad)
            length = lengths(grad, 2.0)
        return grad / torch.as_tensor(per_sample(torch.where(length == 0, 1.0, length), grad)), known
