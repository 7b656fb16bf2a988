"""Momentum on copies with a little of another image in them. Wang et al. 2021, arXiv:2102.00436."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, other_images
from advbench.attacks.transfer.ascent import Parts, ascend
from advbench.attacks.transfer.copies import admixed
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:2102.00436", cost=(160, 150))
def admix(
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
    mixes: int = 3,
    strength: float = 0.2,
    pool: Tensor | None = None,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: mi_fgsm whose gradient is the mean over copies (iterate + strength * other image) / 1, 2, 4, ...

    mixes: other images per step. scales: divisors for each (3, 5 and a strength of 0.2 in the paper). pool: where the
    other images are drawn from, (P, C, H, W). The paper takes them from other classes in the batch, which would make a
    sample's result depend on its neighbours; without a pool, the sample's own iterate, rolled and turned at random,
    takes their place. steps, decay, early_stop: as in ni_fgsm.
    Raises ConfigError if threat.eps is None, steps, scales or mixes < 1, decay or strength < 0, or pool does not
    hold images like x.
    """
    copies = at_least_one("scales", scales) * at_least_one("mixes", mixes)
    others = None if pool is None else (other_images("pool", pool, x, threat) - threat.low) / (threat.high - threat.low)
    look = admixed(scales, at_least_zero("strength", strength), others)
    parts = Parts(steps, decay, early_stop, look=look, looks=copies)
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)
