"""Adversarial training: cross entropy on the worst case in the ball. Madry et al. 2018, arXiv:1706.06083."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, frozen
from advbench.core.losses import cross_entropy
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.sampling import random_start
from advbench.core.step_rules import steepest
from advbench.registry import defense
from advbench.types import ThreatModel


@defense(stage="training", paper="arXiv:1706.06083")
def adversarial(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    steps: int = 7,
    relative_step: float = 2.5,
) -> Tensor:
    """Mean cross entropy on examples that `steps` of PGD from a random start make against the current weights.

    relative_step: length of one step, in units of eps / steps. The examples are made in eval mode, so that batch
    normalisation neither learns from them nor ties the samples of a batch together; the loss is taken in train mode.
    Raises ConfigError if steps < 1 or relative_step is not positive.
    """
    x_adv = worst_case(model, x, y, threat, draws=draws, steps=steps, relative_step=relative_step)
    return cross_entropy(model(x_adv), y).mean()


def worst_case(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, steps: int, relative_step: float
) -> Tensor:
    """x_adv (B, C, H, W): the last point of PGD on the cross entropy from a random start. ValueError without a radius.

    Not `descend`: training wants the last point of every sample, so neither the best one nor who was fooled is kept
    at each step and the last point is not looked at again: a tenth of the time on a small net.
    """
    if threat.eps is None:
        raise ValueError("training needs a radius: threat.eps is None")
    at_least_one("steps", steps), positive("relative_step", relative_step)
    rows = torch.arange(len(x), device=x.device)
    objective, project = misclassify(model, y), within(threat, x)
    step = steepest(threat.norm, relative_step * threat.eps / steps)
    z = random_start(x, threat, draws)
    state = step.init(z)
    with frozen(model):
        for i in range(steps):
            _, grad = backprop(objective, z, rows)
            move, state = step.update(grad, state, i / steps)
            z = project(z + move, rows)
    return z
