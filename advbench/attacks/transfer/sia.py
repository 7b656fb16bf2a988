"""Momentum on copies whose blocks are altered each in its own way. Wang et al. 2023, arXiv:2309.14700."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.transfer.ascent import Parts, ascend
from advbench.attacks.transfer.copies import shuffled_blocks
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:2309.14700", cost=(210, 200))
def sia(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 10,
    decay: float = 1.0,
    copies: int = 20,
    blocks: int = 3,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: mi_fgsm whose gradient is the mean over copies cut into blocks that are shifted, flipped, dimmed, ...

    copies: per step. blocks: random rectangles per side (20 and 3 in the paper). What may happen to one of them is
    listed at copies.shuffled_blocks: nine of the paper's ten changes. steps, decay, early_stop: as in ni_fgsm.
    Raises ConfigError if threat.eps is None, steps, copies or blocks < 1, or decay < 0.
    """
    look = shuffled_blocks(at_least_one("blocks", blocks))
    parts = Parts(steps, decay, early_stop, look=look, looks=at_least_one("copies", copies))
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)
