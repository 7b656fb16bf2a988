"""Noise that is taken for something, with certainty, by gradient. Nguyen et al. 2015, arXiv:1412.1897."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.physical.confidence import confident, noise_in_box
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen, labels_at
from advbench.core.keep import keep_strongest
from advbench.core.objectives import Objective
from advbench.core.projections import within
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(0,), access="gradient", paper="arXiv:1412.1897", unbounded=True, structured=True, cost=(202, 200))
def fooling_noise(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    confidence: float = 0.99,
    steps: int = 200,
    step_size: float = 0.01,
    penalty: float = 0.0,
) -> Tensor:
    """x_adv: noise, not x, that the model takes for y (`targeted`) or anything but y with at least `confidence`.

    A sample starts at uniform noise of its own and takes steps of `step_size` in every component along the sign of the
    gradient of the log probability of y (of the likeliest other class), less penalty * the mean of the squared
    distance from the middle of the box; it stops where the probability is reached, else the likeliest is returned.
    A sample that meets its goal at x is returned as it is.
    The norm is l0, changed components: without a radius x plays no further part, with one all but eps components
    are those of x.
    Raises ConfigError if confidence is not in [0, 1), steps < 1, step_size <= 0 or penalty < 0.
    """
    objective = confident(model, y, targeted=targeted, confidence=confidence)
    step, weight = steepest(inf, positive("step_size", step_size)), at_least_zero("penalty", penalty)
    rows = torch.arange(len(x), device=x.device)
    project, middle = within(threat, x), 0.5 * (threat.low + threat.high)
    with frozen(model):
        left = rows[(labels_at(model, x, rows) == y) != targeted]
        u = draws.rows(left).uniform(tuple(x.shape[1:]), "noise")
        with attending(left):
            found = descend(
                project(noise_in_box(x, u, threat.low, threat.high), left),
                _faint(objective, left, weight, middle),
                step=step,
                steps=at_least_one("steps", steps),
                project=lambda z, mine: project(z, left[mine]),
                keep=keep_strongest,
            )
    return x.index_copy(0, left, found.z)


def _faint(objective: Objective, left: Tensor, weight: float, middle: float) -> Objective:
    def penalised(z: Tensor, rows: Tensor) -> Evaluation:
        loss, reached = objective(z, left[rows])
        return Evaluation(loss + weight * (z - middle).square().flatten(1).mean(1), reached)

    return penalised
