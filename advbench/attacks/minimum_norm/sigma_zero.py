"""Sigma-zero: descent on a smooth l0 norm, small components cut. Cina et al. 2025, arXiv:2402.01879."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.minimum_norm.approach import Move, Sight, approach
from advbench.attacks.minimum_norm.thinning import swapped, thinned
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.losses import margin_loss
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import Objective, misclassify
from advbench.core.step_rules import Schedule, State, StepRule, adam, cosine
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel

_THINNING = 0.06  # share of the steps that put components back


@attack(norms=(0,), access="gradient", paper="arXiv:2402.01879", minimum_norm=True, ratio=1.05, cost=(1001, 999))
def sigma_zero(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 1000,
    step_size: float = 1.0,
    sigma: float = 1e-3,
    threshold: float = 0.3,
    threshold_step: float = 0.01,
) -> Tensor:
    """x_adv: of `steps` points the adversarial one that changes the fewest components of x, x itself if there is none.

    Adam descends on the margin's positive part plus the mean of d^2 / (d^2 + sigma), d the perturbation, with gradients
    of largest component 1; step_size (input units) falls to a tenth along a cosine. After each step, components below
    the threshold are set to zero; it starts at `threshold` and moves by threshold_step times the step size: up from an
    adversarial point, down from another (algorithm 1 of the paper, its defaults). Differs from the paper in the last
    6 % of the steps: each puts back one component of the best example, least changed ones first, or, after that was in
    vain, swaps the least useful of those left for the best of the others; what stays adversarial is kept. On images 500
    - 599 that takes off 5 % of the components on a net for MNIST whose gradients mislead, 1 % on a plain one and, of 40
    images, 4 % on one for CIFAR-10, at the same cost. With a radius in `threat`, a sample is left alone once its
    example lies within it. `draws` is not used.
    Raises ConfigError if steps < 1, step_size or sigma is not positive, or a threshold is negative.
    """
    size = cosine(positive("step_size", step_size), 0.1 * step_size)
    rule = adam(1.0, schedule=size)
    first = at_least_zero("threshold", threshold)
    share = at_least_zero("threshold_step", threshold_step)

    def init(centre: Tensor) -> State:
        fresh = torch.full_like(centre.flatten(1)[:, 0], first)
        return (fresh, torch.zeros_like(centre, dtype=torch.bool), *rule.init(centre))

    walk, last = _walk(threat, rule, size, share), steps - 1 - int(_THINNING * steps)

    def move(sight: Sight, state: State, progress: float) -> tuple[Tensor, State]:
        if round(progress * steps) < last:
            return walk(sight, state, progress)
        z, tried = thinned(sight, state[1])
        other, in_vain = swapped(sight, threat)
        at = torch.as_tensor(per_sample(in_vain, z))
        z, tried = torch.where(at, other, z), torch.where(at, state[1], tried)
        further, (cut, _, *memory) = walk(sight, state, progress)
        return torch.where(torch.as_tensor(per_sample(sight.found, z)), z, further), (cut, tried, *memory)

    with frozen(model):
        objective = _few_components(
            misclassify(model, y, targeted=targeted, loss=margin_loss), x, positive("sigma", sigma)
        )
        return approach(x, objective, threat, steps=at_least_one("steps", steps), init=init, move=move)


def _walk(threat: ThreatModel, rule: StepRule, size: Schedule, share: float) -> Move:
    """A step against the gradient, then the cut; state: the threshold (A,), one that is not its own, the rule's."""

    def move(sight: Sight, state: State, progress: float) -> tuple[Tensor, State]:
        largest = lengths(sight.grad, torch.inf)
        grad = sight.grad / torch.as_tensor(per_sample(torch.where(largest > 0, largest, 1.0), sight.grad))
        step, memory = rule.update(grad, state[2:], progress)
        z = (sight.z + step).clamp(threat.low, threat.high)
        turn = share * size(progress)
        cut = (state[0] + torch.where(sight.reached, turn, -turn)).clamp(0.0, 1.0)  # (A,)
        small = (z - sight.x).abs() < torch.as_tensor(per_sample(cut, z))
        return torch.where(small, sight.x, z), (cut, state[1], *memory)

    return move


def _few_components(margin: Objective, x: Tensor, sigma: float) -> Objective:
    """The margin's positive part plus the share of changed components, smoothed."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        evaluation = margin(z, rows)
        square = (z - x[rows]).square().flatten(1)
        return Evaluation(evaluation.loss.clamp_min(0.0) + (square / (square + sigma)).mean(1), evaluation.reached)

    return objective
