"""Momentum on darker and darker copies: scale invariance. Lin et al. 2020, arXiv:1908.06281."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.transfer.ascent import Parts, ascend
from advbench.attacks.transfer.copies import darkened
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1908.06281", cost=(60, 50))
def si_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 10,
    decay: float = 1.0,
    scales: int = 5,
    nesterov: bool = True,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: ni_fgsm whose gradient is the mean over the iterate divided by 1, 2, 4, ... (algorithm 1: SI-NI-FGSM).

    scales: how many (5 in the paper). nesterov: look ahead as ni_fgsm does; without it, the paper's scale invariance
    with plain momentum. steps, decay, early_stop: as in ni_fgsm. `draws` is not used.
    Raises ConfigError if threat.eps is None, steps or scales < 1 or decay < 0.
    """
    look = darkened(at_least_one("scales", scales))
    parts = Parts(steps, decay, early_stop, nesterov=nesterov, look=look, looks=scales)
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)
