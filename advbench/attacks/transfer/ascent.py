"""The one loop of the attacks that are meant to transfer: momentum, with parts that steady each step's gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.core.draws import Draws
from advbench.core.gradients import Gradient, backprop, evaluate, frozen
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import within
from advbench.core.sampling import in_ball
from advbench.core.step_rules import momentum, steepest
from advbench.core.view_gradient import Look, in_box_of, over_looks
from advbench.types import Evaluation, ThreatModel


def as_it_is(grad: Tensor) -> Tensor:
    """No smoothing."""
    return grad


@dataclass(frozen=True)
class Parts:
    """What a step of the ascent is made of.

    steps, decay, early_stop: as in mi_fgsm. nesterov: the gradient is taken where the momentum alone would lead.
    look, looks: it is the mean over `looks` altered copies. neighbours, reach: to it is added what it lacked, at the
    step before, to its mean over points within reach * eps. smooth: what is done to the sum.
    """

    steps: int
    decay: float
    early_stop: bool
    nesterov: bool = False
    look: Look | None = None
    looks: int = 1
    smooth: Callable[[Tensor], Tensor] = as_it_is
    neighbours: int = 0
    reach: float = 1.5


def ascend(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, parts: Parts, *, draws: Draws, targeted: bool
) -> Tensor:
    """x_adv (B, ...) after the steps of `parts` of length eps / steps each, from x; norms 2 and inf.

    With early_stop a sample leaves when its iterate is adversarial. Where the gradient is taken elsewhere, at altered
    copies or ahead, the iterate itself is asked about only if the model errs there: an example that no copy gives away
    goes unnoticed, x included, and may be left behind. The last iterate is returned unseen.
    Raises ConfigError if threat.eps is None, steps or looks < 1, or decay or reach is negative.
    """
    size = threat.radius / at_least_one("steps", parts.steps)
    at_least_zero("decay", parts.decay), at_least_zero("reach", parts.reach)
    objective, project = misclassify(model, y, targeted=targeted), within(threat, x)
    step = momentum(threat.norm, size, decay=parts.decay)
    one, correction = _gradient(parts, threat, draws), _correction(parts, threat, draws)
    elsewhere = parts.nesterov or parts.look is not None
    rows, z, found = torch.arange(len(x), device=x.device), x, x
    velocity, lack = torch.zeros_like(x), torch.zeros_like(x)
    with frozen(model):
        for i in range(parts.steps):
            at = _ahead(z, velocity, parts.decay, size, threat.norm) if parts.nesterov else z
            seen, grad = one(objective, at, rows)
            if parts.early_stop:
                here = seen if at is z or targeted else _along(seen, grad, z - at)
                done = _adversarial(objective, z, rows, here) if elsewhere else seen.reached
                if bool(done.any()):
                    found = found.index_copy(0, rows[done], z[done])
                    rows, z, velocity, lack, at, grad = (part[~done] for part in (rows, z, velocity, lack, at, grad))
                if not len(rows):
                    break
            raw = parts.smooth(grad + lack)
            if i + 1 < parts.steps:
                lack = correction(objective, at, grad, rows, i)
            move, (velocity,) = step.update(raw, (velocity,), i / parts.steps)
            z = project(z + move, rows)
    return found.index_copy(0, rows, z)


def _along(seen: Evaluation, grad: Tensor, way: Tensor) -> Evaluation:
    """What a straight line predicts of the cross entropy, and whether that may be an error.

    It is none as long as the class y has more than half of the probability.
    """
    loss = seen.loss + (grad * way).flatten(1).sum(1)
    return Evaluation(loss, seen.reached & (-loss >= log(2.0)))


def _adversarial(objective: Objective, z: Tensor, rows: Tensor, elsewhere: Evaluation) -> Tensor:
    """(A,) bool: is z adversarial? Asked only where it was so `elsewhere`, in the place where the gradient is taken."""
    likely = elsewhere.reached.nonzero()[:, 0]
    if not len(likely):
        return elsewhere.reached
    return elsewhere.reached.index_copy(0, likely, evaluate(objective, z[likely], rows[likely]).reached)


def _gradient(parts: Parts, threat: ThreatModel, draws: Draws) -> Gradient:
    if parts.look is None:
        return backprop
    return over_looks(in_box_of(threat, parts.look), draws, looks=at_least_one("looks", parts.looks))


# (objective, z, its gradient, rows, step) -> what that gradient lacks to its mean in the neighbourhood
Correction = Callable[[Objective, Tensor, Tensor, Tensor, int], Tensor]


def _correction(parts: Parts, threat: ThreatModel, draws: Draws) -> Correction:
    wide = parts.reach * threat.radius
    around = threat.at(min(wide, threat.high - threat.low) if threat.norm == inf else wide)
    mine = draws.branch("neighbours")
    one = _gradient(parts, threat, mine)

    def correction(objective: Objective, z: Tensor, grad: Tensor, rows: Tensor, i: int) -> Tensor:
        if not parts.neighbours:
            return torch.zeros_like(grad)
        total, own = torch.zeros_like(grad), mine.rows(rows)
        for k in range(parts.neighbours):
            near = z + in_ball(z, around, own, counter=i * parts.neighbours + k).to(z.dtype)
            total += one(objective, near, rows)[1]
        return total / parts.neighbours - grad

    return correction


def _ahead(z: Tensor, velocity: Tensor, decay: float, size: float, norm: float) -> Tensor:
    """Where z goes by momentum alone: in linf along the sum of gradients as it is (arXiv:1908.06281, equation 6)."""
    if norm == inf:
        return z - decay * size * velocity
    # That sum has no scale in l2: as far as one step.
    return z + decay * steepest(norm, size).update(velocity, (), 0.0)[0]
