"""Basic iterative method: FGSM in small steps from x. Kurakin et al. 2017, arXiv:1607.02533."""

from __future__ import annotations

from math import ceil, inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.gradient.pgd import pgd
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(inf,), access="gradient", paper="arXiv:1607.02533", ratio=1.0, cost=(260, 259))
def bim(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int | None = None,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: the strongest iterate of steps along the gradient's sign from x: `pgd` without a random start.

    steps: without it, the paper's: one grey level (a 255th of the box) each, and with e = eps in grey levels
    min(e + 4, 1.25 e) of them, rounded up; with it, that many of length eps / steps. early_stop: leave a sample alone
    once it is adversarial; `transfer` turns that off. `draws` is not used.
    Raises ConfigError if threat.eps is None or steps < 1.
    """
    level = (threat.high - threat.low) / 255
    levels = round(threat.radius / level, 6)  # 8/255 is 8 grey levels, in spite of rounding
    count = max(1, ceil(min(levels + 4, 1.25 * levels))) if steps is None else at_least_one("steps", steps)
    return pgd(
        model,
        x,
        y,
        threat,
        draws=draws,
        targeted=targeted,
        steps=count,
        relative_step=1.0,
        step_size=level if steps is None else None,
        random_start=False,
        early_stop=early_stop,
    )
