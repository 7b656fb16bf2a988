"""Momentum on a blurred gradient: translation invariance. Dong et al. 2019, arXiv:1904.02884."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.transfer.ascent import Parts, ascend
from advbench.attacks.transfer.smoothing import gaussian
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1904.02884", cost=(10, 10))
def ti_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 10,
    decay: float = 1.0,
    kernel: int = 15,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: mi_fgsm whose gradient is blurred first, which stands for its mean over shifted images.

    kernel: side of the Gaussian kernel in pixels, odd; its deviation is (kernel - 1) / 6, as in the authors' code. 15
    is the paper's choice for 299 pixels; smaller images want a smaller one. steps, decay, early_stop: as in ni_fgsm.
    `draws` is not used. Raises ConfigError if threat.eps is None, steps < 1, decay < 0, or kernel is even or < 1.
    """
    parts = Parts(steps, decay, early_stop, smooth=gaussian(kernel))
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)
