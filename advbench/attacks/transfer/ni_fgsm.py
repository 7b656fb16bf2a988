"""Momentum that looks ahead: Nesterov's gradient. Lin et al. 2020, arXiv:1908.06281."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.transfer.ascent import Parts, ascend
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1908.06281", ratio=1.0, cost=(20, 10))
def ni_fgsm(
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
    """x_adv: mi_fgsm whose gradient is taken where the momentum alone would lead (section 3.2 of the paper).

    steps, decay, early_stop: as in mi_fgsm; whether an iterate is adversarial is asked only if the model errs where the
    gradient is taken, one pass each time, and never without early_stop (`transfer` turns it off): then the last iterate
    is returned. `draws` is not used.
    Raises ConfigError if threat.eps is None, steps < 1 or decay < 0.
    """
    parts = Parts(steps, decay, early_stop, nesterov=True)
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)
