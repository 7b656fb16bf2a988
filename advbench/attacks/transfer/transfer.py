"""Examples made on a substitute, handed to a victim that is not asked. Papernot et al. 2017, arXiv:1602.02697."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from torch import Tensor, nn

from advbench.attacks.gradient.pgd import pgd
from advbench.attacks.inner_attack import inner_attack
from advbench.core.draws import Draws
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(1, 2, inf), access="none", paper="arXiv:1602.02697", ratio=1.05, cost=(0, 0))
def transfer(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    substitute: nn.Module,
    via: Callable[..., Tensor] = pgd,
    targeted: bool = False,
) -> Tensor:
    """x_adv that `via`, an attack with its parameters filled in, makes against `substitute`; `model` is never called.

    An example just past the substitute's boundary seldom crosses the victim's: where `via` has `early_stop`, it is
    turned off, so that the whole budget of steps and of eps is used. Norms and radius are those that `via` works with.
    Several substitutes are attacked together as the mean of their logits: models.ensemble.MeanLogits, in a matrix
    {ensemble: [...]} (Liu et al. 2017, arXiv:1611.02770).
    Raises ConfigError if `via` cannot have this norm or goal or attacks all samples together.
    """
    attack_with = inner_attack(via, threat, targeted=targeted, early_stop=False)
    return attack_with(substitute, x, y, threat, draws=draws)
