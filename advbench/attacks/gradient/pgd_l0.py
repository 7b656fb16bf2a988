"""Projected gradient descent in the l0 ball: the best components by rank. Croce and Hein 2019, arXiv:1909.05040."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen
from advbench.core.keep import keep_better, keep_strongest, nothing_kept
from advbench.core.log_odds import log_odds
from advbench.core.norms import per_sample
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import Schedule, State, StepRule, cosine
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(0,), access="gradient", paper="arXiv:1909.05040", ratio=1.05, cost=(505, 500))
def pgd_l0(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 100,
    relative_step: float = 1.5,
    restarts: int = 5,
) -> Tensor:
    """x_adv: x with at most eps components changed: an adversarial iterate, else that of highest loss (or lowest).

    A step goes along the gradient and back to the nearest point of the l0 ball and the box: the eps components that
    save most of the way are kept. Its components are relative_step long on average, in units of the box's width, and a
    hundredth of that at the end of the run. The published code's 30000/255 on MNIST and 120000/255 on CIFAR-10 are
    both 0.15 all the time; with the cosine between, 45 % of MNIST images survive 7 components instead of 55 %.
    restarts: runs from noise, uniform in the box's width around x and projected, each for the samples that survived all
    before it. The loss is the log odds, whose direction is that of the paper's cross entropy, without its saturation.
    Raises ConfigError if threat.eps is None, steps or restarts < 1 or relative_step is not positive.
    """
    size = positive("relative_step", relative_step) * (threat.high - threat.low)
    at_least_one("steps", steps), at_least_one("restarts", restarts)
    if threat.radius < 1:
        return x.clone()
    kept = nothing_kept(x)
    with frozen(model):
        for run in range(restarts):
            left = (~kept.reached).nonzero()[:, 0]
            if not len(left):
                break
            project = within(threat, x[left])
            with attending(left):
                found = descend(
                    project(_noisy(x[left], threat, draws.rows(left), run), torch.arange(len(left), device=x.device)),
                    misclassify(model, y[left], targeted=targeted, loss=log_odds),
                    step=_by_mean_size(cosine(size, 0.01 * size)),
                    steps=steps,
                    project=project,
                    keep=keep_strongest,
                )
            kept = keep_better(kept, found.z, Evaluation(found.loss, found.reached), left, keep_strongest)
    return kept.z


def _noisy(x: Tensor, threat: ThreatModel, draws: Draws, run: int) -> Tensor:
    noise = 2.0 * draws.uniform(tuple(x.shape[1:]), "start", run).to(x) - 1.0
    return x + (threat.high - threat.low) * noise


def _by_mean_size(size: Schedule) -> StepRule:
    """A step against the gradient whose components are size(progress) long on average."""

    def update(grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        mean = grad.flatten(1).abs().mean(1)
        return -size(progress) * grad / torch.as_tensor(per_sample(torch.where(mean > 0, mean, 1.0), grad)), state

    return StepRule(lambda z: (), update)
