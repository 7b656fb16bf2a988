"""Fast minimum-norm attack: steps along the gradient, in a ball that shrinks. Pintor et al. 2021, arXiv:2102.12827."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.minimum_norm.approach import Move, Sight, approach, free_gradient
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.losses import margin_loss
from advbench.core.norms import dual, lengths, per_sample
from advbench.core.objectives import misclassify
from advbench.core.projections import BALLS
from advbench.core.step_rules import Schedule, State, cosine
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

_LAST_GAMMA = 0.001  # the share by which a radius changes at the last step: section 3 of the paper

# A sample without an example is helped (see the docstring) after this part of the run, in these norms at once.
_PATIENCE = 0.1
_HELPED = (1.0, 2.0)


@attack(
    norms=(0, 1, 2, inf),
    access="gradient",
    paper="arXiv:2102.12827",
    minimum_norm=True,
    ratio=1.05,
    cost=(101, 99),
)
def fmn(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 100,
    step_size: float = 1.0,
    gamma: float = 0.05,
) -> Tensor:
    """x_adv: the nearest adversarial point of `steps` points in balls around x, x itself if none is adversarial.

    Each step has l2 length step_size (input units) at first, a hundredth of that at last, in all norms, along the
    gradient of the margin; the point is then projected into the ball and the box. The ball's radius reaches the
    boundary of the linearised model until a first example is found; then it changes by the share `gamma`, falling to
    0.001: down from an adversarial point, never above the nearest, and up from another. l0 radii are whole numbers,
    start at 1 and change by at least 1 (algorithm 1 of the paper). With a radius in `threat`, a sample is left alone
    once its example lies within it.

    Differs from the paper until a first example is found: the point is moved out to the ball's surface, not only back
    to it, and the gradient is taken without the components that the box holds back; in l1 and l2 from the first step
    (and the gradient throughout), else after a tenth of the steps, when also the radius reaches beyond the estimate.
    Without that a third of MNIST's images is stuck in l2. `draws` is not used.
    Raises ConfigError if steps < 1, step_size is not positive or gamma is not in (0, 1).
    """
    if not 0 < gamma < 1:
        raise ConfigError(f"gamma must be between 0 and 1, got {gamma}")
    size = cosine(positive("step_size", step_size), 0.01 * step_size)
    share = cosine(gamma, min(gamma, _LAST_GAMMA))
    first = 1.0 if threat.norm == 0 else inf
    with frozen(model):
        return approach(
            x,
            misclassify(model, y, targeted=targeted, loss=margin_loss),
            threat,
            steps=at_least_one("steps", steps),
            init=lambda centre: (torch.full_like(centre.flatten(1)[:, 0], first),),
            move=_in_a_ball(threat, size, share),
        )


def _in_a_ball(threat: ThreatModel, size: Schedule, share: Schedule) -> Move:
    next_radius, project = _whole_radius if threat.norm == 0 else _radius, BALLS[threat.norm]

    def move(sight: Sight, state: State, progress: float) -> tuple[Tensor, State]:
        late = ~sight.found & (progress >= _PATIENCE)
        help_from = ~sight.found if threat.norm in _HELPED else late
        along = torch.as_tensor(per_sample(late | (threat.norm in _HELPED), sight.z))
        sight = sight._replace(grad=torch.where(along, free_gradient(sight, threat), sight.grad))
        furthest = lengths(torch.maximum(sight.x - threat.low, threat.high - sight.x), threat.norm)
        radius = next_radius(sight, state[0], share(progress), late, threat.norm).minimum(furthest)  # (A,)
        length = lengths(sight.grad, 2.0)
        speed = size(progress) / torch.where(length > 0, length, 1.0)
        delta = sight.z - sight.x - sight.grad * torch.as_tensor(per_sample(speed, sight.grad))
        if threat.norm != 0:
            delta = delta * torch.as_tensor(per_sample(_stretch(delta, radius, help_from, threat.norm), delta))
        return (sight.x + project(delta, radius)).clamp(threat.low, threat.high), (radius,)

    return move


def _stretch(delta: Tensor, radius: Tensor, where: Tensor, norm: float) -> Tensor:
    """Factors (A,) that make each delta (A, ...) at least `radius` long in `norm`; 1 but `where`."""
    length = lengths(delta, norm)
    factor = (radius / torch.where(length > 0, length, torch.inf)).clamp_min(1.0)
    return torch.where(where, factor, 1.0)


def _radius(sight: Sight, radius: Tensor, share: float, late: Tensor, norm: float) -> Tensor:
    slope = lengths(sight.grad, dual(norm)).clamp_min(1e-12)
    to_boundary = lengths(sight.z - sight.x, norm) + sight.loss.abs() / slope
    # A linear model's boundary would be approached for ever, but not crossed.
    before = torch.where(late, to_boundary * (1.0 + share), to_boundary)
    outside = torch.where(sight.found, radius * (1.0 + share), before)
    return torch.where(sight.reached, (radius * (1.0 - share)).minimum(sight.nearest), outside)


def _whole_radius(sight: Sight, radius: Tensor, share: float, late: Tensor, norm: float) -> Tensor:
    smaller = (radius - 1.0).minimum((radius * (1.0 - share)).floor()).minimum(sight.nearest)
    larger = (radius + 1.0).maximum((radius * (1.0 + share)).floor())
    return torch.where(sight.reached, smaller.clamp_min(0.0), larger)
