"""FGSM after a small random step. Tramer et al. 2018, arXiv:1705.07204."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import evaluate, frozen
from advbench.core.keep import keep_better, keep_latest, nothing_kept
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel


@attack(norms=(inf,), access="gradient", paper="arXiv:1705.07204", cost=(3, 1))
def rfgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    noise: float = 0.5,
) -> Tensor:
    """x_adv: x moved by noise * eps along random signs, then by the rest of eps along the gradient's sign there.

    The noise leaves the place where the gradient is masked (section 4.1 of the paper, which takes half of eps). Where
    that undoes an error of the model at x, or of the random step, the point that was wrong is returned.
    noise: share of eps, in [0, 1]; 0 gives `fgsm`. Raises ConfigError if threat.eps is None or noise is not in [0, 1].
    """
    if not 0.0 <= noise <= 1.0:
        raise ConfigError(f"noise must be in [0, 1], got {noise}")
    alpha = noise * threat.radius
    objective, rows = misclassify(model, y, targeted=targeted), torch.arange(len(x), device=x.device)
    start = (x + alpha * draws.signs(tuple(x.shape[1:]), "start")).clamp(threat.low, threat.high)
    with frozen(model):
        kept = keep_better(nothing_kept(x), x, evaluate(objective, x, rows), rows, keep_latest)
        found = descend(
            start,
            objective,
            step=steepest(threat.norm, threat.radius - alpha),
            steps=1,
            project=within(threat, x),
            stop=None,  # the step is always taken: on a substitute, the start may be wrong already
        )
        return keep_better(kept, found.z, Evaluation(found.loss, found.reached), rows, keep_latest).z
