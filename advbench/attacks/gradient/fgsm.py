"""Fast gradient sign method: one full step along the gradient. Goodfellow et al. 2015, arXiv:1412.6572."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import State, StepRule, steepest
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:1412.6572", ratio=1.0, cost=(1, 1))
def fgsm(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    """x_adv: x moved by eps in the direction that changes the linearised cross entropy most, then clipped to the box.

    linf: eps times the gradient's sign (section 4 of the paper). l2: eps times its direction. l1: the component with
    the largest gradient moves as far as eps and the box allow, then the next, until eps is spent.
    `draws` is not used. Raises ConfigError if threat.eps is None.
    """
    eps = threat.radius
    with frozen(model):
        return descend(
            x,
            misclassify(model, y, targeted=targeted),
            step=_fill_components(x, threat, eps) if threat.norm == 1 else steepest(threat.norm, eps),
            steps=1,
            project=within(threat, x),
            stop=None,  # the step is always taken: on a substitute, x may be wrong already
            last_look=False,
        ).z


def _fill_components(x: Tensor, threat: ThreatModel, eps: float) -> StepRule:
    """The best move of l1 length eps from x (B, ...) within the box, for the linearised loss."""

    def update(grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        flat, start = grad.flatten(1), x.flatten(1)
        towards = -flat.sign()
        room = torch.where(towards > 0, threat.high - start, start - threat.low) * towards.abs()
        order = flat.abs().argsort(dim=1, descending=True, stable=True)
        room = room.gather(1, order)  # (B, D) by falling gradient
        spent_before = room.cumsum(1) - room
        spent = (eps - spent_before).clamp_min(0.0).minimum(room)
        move = towards * torch.zeros_like(flat).scatter(1, order, spent)
        return move.reshape(grad.shape), state

    return StepRule(lambda z: (), update)
