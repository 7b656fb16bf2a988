"""Projected gradient descent with random starts and restarts. Madry et al. 2018, arXiv:1706.06083."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.core import sampling
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import Gradient, backprop, frozen
from advbench.core.keep import Kept, keep_strongest, nothing_kept, when_reached
from advbench.core.norms import lengths
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import within
from advbench.core.restarts import in_turns
from advbench.core.step_rules import StepRule, sparse_steepest, steepest
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel

# The share of components that an l1 step leaves alone: arXiv:1904.13000, section 4.2.
_L1_QUANTILE = 0.99


@attack(
    norms=(1, 2, inf),
    access="gradient",
    paper="arXiv:1706.06083",
    nested=True,
    ratio=1.02,
    cost=(41, 40),
    revision={1: 2},
)
def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    x_start: Tensor | None = None,
    steps: int = 40,
    relative_step: float = 2.5,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: the strongest iterate: an adversarial one, else that of highest cross entropy (lowest, if `targeted`).

    relative_step: length of a step in units of eps / steps; step_size: the length itself, in input units, instead.
    linf steps along the gradient's sign, l2 along its direction, l1 along the signs of its largest components (Tramer
    and Boneh 2019). restarts: runs from different starts, each for the samples that survived all before it.
    random_start: uniform in the ball; without it the first run starts at x. x_start (B, C, H, W): the first run starts
    there instead, drawn into the ball; without random_start it is a run from x that has come so far, and the steps that
    its distance from x is worth count as taken. early_stop: leave a sample alone once it is adversarial; `transfer`
    turns that off.
    Raises ConfigError if threat.eps is None, steps or restarts < 1, or a step is not positive.
    """
    eps = threat.radius
    size = positive("relative_step", relative_step) * eps / at_least_one("steps", steps)
    length = size if step_size is None else positive("step_size", step_size)
    step, gradient = _STEPS[threat.norm](length, threat)

    def run(left: Tensor, turn: int) -> Kept:
        start, project, taken = x[left], within(threat, x[left]), None
        if x_start is not None and turn == 0:
            start = project(x_start[left], torch.arange(len(left), device=x.device))
            taken = None if random_start else _steps_to(start - x[left], threat.norm, length).clamp_max(steps - 1)
        elif random_start or turn > 0:
            start = sampling.random_start(start, threat, draws.rows(left), counter=turn)
        return descend(
            start,
            misclassify(model, y[left], targeted=targeted),
            step=step,
            steps=steps,
            project=project,
            gradient=gradient,
            keep=keep_strongest,
            stop=when_reached if early_stop else None,
            taken=taken,
        )

    with frozen(model):
        return in_turns(nothing_kept(x), at_least_one("restarts", restarts), run, survivors_only=early_stop).z


def _steps_to(delta: Tensor, norm: float, length: float) -> Tensor:
    """Whole steps of `length` in a straight line; a last one that rounding made a little short is whole."""
    return (lengths(delta, norm) / length + 1e-4).long()


def _steepest(size: float, threat: ThreatModel) -> tuple[StepRule, Gradient]:
    return steepest(threat.norm, size), backprop


def _sparse(size: float, threat: ThreatModel) -> tuple[StepRule, Gradient]:
    """l1: the few components that a step moves must not be wasted on those that the box holds back."""

    def gradient(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
        evaluation, grad = backprop(objective, z, rows)
        held = ((z <= threat.low) & (grad > 0)) | ((z >= threat.high) & (grad < 0))
        return evaluation, grad.masked_fill(held, 0.0)

    return sparse_steepest(_L1_QUANTILE, size), gradient


_STEPS = {1.0: _sparse, 2.0: _steepest, inf: _steepest}
