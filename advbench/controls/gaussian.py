"""Isotropic Gaussian noise of expected squared length eps^2. Ford et al. 2019, arXiv:1901.10513."""

from __future__ import annotations

import math

from torch import Tensor, nn

from advbench.controls.best_draw import best_draw
from advbench.core.draws import Draws
from advbench.core.projections import project_l2
from advbench.registry import control
from advbench.types import ThreatModel


@control(norms=(2,), paper="arXiv:1901.10513")
def gaussian(
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
    """x_adv: the best of `tries` points x + noise, noise of standard deviation eps / sqrt(D) per component, in the box.

    The length of such noise is eps give or take eps / sqrt(2 D); what is longer than eps is shortened to it, so that
    no draw leaves the ball. rescale: lengthen what the box has shortened, where possible.
    Raises ConfigError if threat.eps is None or tries < 1.
    """
    eps = threat.radius

    def draw(start: Tensor, of_start: Draws, i: int) -> Tensor:
        shape = tuple(start.shape[1:])
        deviation = eps / math.sqrt(max(math.prod(shape), 1))
        return project_l2(deviation * of_start.normal(shape, "gaussian", i), eps)

    return best_draw(
        model, x, y, threat, draw, draws=draws, targeted=targeted, tries=tries, rescale=rescale, early_stop=early_stop
    )
