"""Momentum with variance tuning. Wang and He 2021, arXiv:2103.15571."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.transfer.ascent import Parts, ascend
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:2103.15571", ratio=1.0, cost=(190, 190))
def vmi_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 10,
    decay: float = 1.0,
    neighbours: int = 20,
    reach: float = 1.5,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: mi_fgsm whose gradient is corrected by what it lacked, one step before, to the mean of its neighbourhood.

    neighbours: points at which that mean is taken, uniform in the ball of radius reach * eps around the iterate (20 and
    1.5 in the paper). steps, decay, early_stop: as in ni_fgsm.
    Raises ConfigError if threat.eps is None, steps or neighbours < 1, or decay or reach < 0.
    """
    parts = Parts(steps, decay, early_stop, neighbours=at_least_one("neighbours", neighbours), reach=reach)
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)
