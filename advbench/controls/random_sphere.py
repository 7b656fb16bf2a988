"""Uniform noise on the sphere or in the ball of the threat. Fawzi et al. 2016, arXiv:1608.08967."""

from __future__ import annotations

from math import inf
from typing import Literal

from torch import Tensor, nn

from advbench.controls.best_draw import best_draw
from advbench.core.draws import Draws
from advbench.core.sampling import in_ball, on_sphere
from advbench.registry import control
from advbench.types import ConfigError, ThreatModel

_PLACES = {"sphere": on_sphere, "ball": in_ball}


@control(norms=(0, 1, 2, inf), paper="arXiv:1608.08967")
def random_sphere(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    tries: int = 1000,
    where: Literal["sphere", "ball"] = "sphere",
    rescale: bool = False,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: the best of `tries` points drawn at distance eps from x, or anywhere within it, clipped to the box.

    linf: the corners of the cube, or all of the cube. l0: floor(eps) random components (up to that many in the ball)
    at a random end of the box. rescale: lengthen what the box has shortened, where possible.
    early_stop: leave a sample alone once a draw has changed its label; without, all draws are made (column `hits`).
    Zero hits in n tries say that less than about 3 / n of the sphere is bad (95 %); the paper has how much longer than
    the nearest adversarial step a random one must be, about sqrt(D) times in l2.
    Raises ConfigError if threat.eps is None, tries < 1 or `where` is another word.
    """
    if where not in _PLACES:
        raise ConfigError(f"random_sphere: where must be sphere or ball, got {where!r}")
    place = _PLACES[where]
    return best_draw(
        model,
        x,
        y,
        threat,
        lambda start, of_start, i: place(start, threat, of_start, i),
        draws=draws,
        targeted=targeted,
        tries=tries,
        rescale=rescale,
        early_stop=early_stop,
    )
