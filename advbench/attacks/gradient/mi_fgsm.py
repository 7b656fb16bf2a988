"""Momentum iterative FGSM: steps along an average of past gradients. Dong et al. 2018, arXiv:1710.06081."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import when_reached
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import momentum
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1710.06081", ratio=1.0, cost=(10, 10))
def mi_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 10,
    decay: float = 1.0,
    early_stop: bool = True,
) -> Tensor:
    """x_adv after `steps` steps of length eps / steps from x along g = decay * g + gradient / mean|gradient|.

    linf: the sign of g; l2: its direction (algorithm 1 and section 3.3 of the paper). The latest iterate
    is returned, or the latest that was adversarial. early_stop: leave a sample alone once it is adversarial; `transfer`
    turns that off. `draws` is not used.
    Raises ConfigError if threat.eps is None, steps < 1 or decay is negative.
    """
    size = threat.radius / at_least_one("steps", steps)
    at_least_zero("decay", decay)
    with frozen(model):
        return descend(
            x,
            misclassify(model, y, targeted=targeted),
            step=momentum(threat.norm, size, decay=decay),
            steps=steps,
            project=within(threat, x),
            stop=when_reached if early_stop else None,
            last_look=False,
        ).z
