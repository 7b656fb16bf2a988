"""Momentum on randomly shrunk copies: input diversity. Xie et al. 2019, arXiv:1803.06978."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.transfer.ascent import Parts, ascend
from advbench.attacks.transfer.copies import resized
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1803.06978", cost=(20, 10))
def di_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 10,
    decay: float = 1.0,
    probability: float = 0.5,
    smallest: float = 0.9,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: mi_fgsm whose gradient is taken at a copy of the iterate that is shrunk and moved at random.

    probability: how often a step sees such a copy, and not the iterate itself (0.5 in the paper). smallest: the sides
    of the copy are a share of the image's, uniform from this to 1, on a black canvas of the image's size (0.9: 299 of
    330 pixels in the paper, which enlarges the canvas instead). Each sample has draws of its own. steps, decay,
    early_stop: as in ni_fgsm; decay=0 is the paper's attack without momentum.
    Raises ConfigError if threat.eps is None, steps < 1, decay < 0, or the others are not in [0, 1] and (0, 1].
    """
    if not (0 <= probability <= 1 and 0 < smallest <= 1):
        raise ConfigError(f"need probability in [0, 1] and smallest in (0, 1], got {probability} and {smallest}")
    parts = Parts(steps, decay, early_stop, look=resized(probability, smallest))
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)
