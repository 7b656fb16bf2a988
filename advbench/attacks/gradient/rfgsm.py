"""FGSM after a small random step. Tramer et al. 2018, arXiv:1705.07204."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import backprop, evaluate, frozen
from advbench.core.norms import per_sample
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel


@attack(norms=(inf,), access="gradient", paper="arXiv:1705.07204", cost=(2, 1))
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
        at_x = evaluate(objective, x, rows).reached
        at_start, grad = backprop(objective, start, rows)
        z = within(threat, x)(start + steepest(threat.norm, threat.radius - alpha).update(grad, (), 0.0)[0], rows)
        # The step is taken all the same: on a substitute, x or the start may be wrong already.
        wrong = torch.where(torch.as_tensor(per_sample(at_start.reached, x)), start, x)
        at_risk = rows[at_x | at_start.reached]
        undone = at_risk[~evaluate(objective, z[at_risk], at_risk).reached]
    return z.index_copy(0, undone, wrong[undone])
