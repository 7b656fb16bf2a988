"""Every component up or down by the toss of a coin: FGSM without its gradient (arXiv:1412.6572, section 4)."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.controls.best_draw import best_draw
from advbench.core.draws import Draws
from advbench.core.norms import lengths, per_sample
from advbench.registry import control
from advbench.types import ThreatModel


@control(norms=(1, 2, inf), paper="arXiv:1412.6572")
def random_sign(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    tries: int = 1000,
    rescale: bool = False,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: the best of `tries` points x + c * signs, |c * signs| = eps, clipped to the box.

    linf: corners of the cube, whose l2 norm is sqrt(3) times that of a typical point in it. l1, l2: the direction that
    spreads eps evenly. rescale: lengthen what the box has shortened, where possible.
    Raises ConfigError if threat.eps is None or tries < 1.
    """
    eps = threat.radius

    def draw(start: Tensor, of_start: Draws, i: int) -> Tensor:
        signs = of_start.signs(tuple(start.shape[1:]), "random sign", i)
        return eps * signs / per_sample(lengths(signs, threat.norm), signs)

    return best_draw(
        model, x, y, threat, draw, draws=draws, targeted=targeted, tries=tries, rescale=rescale, early_stop=early_stop
    )
