"""Moves the centre of mass of the gradient map away; the class stays. Ghorbani et al. 2019, arXiv:1710.10547."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.explanation.shift_map import Aim, shift_map
from advbench.core.draws import Draws
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import ThreatModel

_ASIDE = 1e-3  # pixels


@attack(norms=(2, inf), access="gradient", paper="arXiv:1710.10547", keeps_label=True, cost=(603, 902))
def mass_center(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    steps: int = 300,
    relative_step: float = 18.75,
    beta: float = 10.0,
) -> Tensor:
    """x_adv of the predicted class whose gradient map has its centre of mass furthest, in pixels, from that of x.

    The map, the smooth network and the steps are those of `top_k_saliency`: relative_step in units of eps / steps, beta
    the sharpness of the softplus. `y` and `draws` are not used.
    Raises ConfigError if threat.eps is None, steps < 1, or a step or beta is not positive.
    """
    size = positive("relative_step", relative_step) * threat.radius / at_least_one("steps", steps)

    def aim(shares: Tensor) -> Aim:
        # A little aside: exactly at the centre, where a network without ReLUs begins, the distance has no slope.
        centre = _centre(shares) + _ASIDE

        def closeness(found: Tensor, rows: Tensor) -> Tensor:
            return -(_centre(found) - centre[rows]).square().sum(1)

        return Aim(closeness, closeness)

    return shift_map(
        model, x, threat, aim=aim, step=steepest(threat.norm, size), betas=[positive("beta", beta)] * steps
    )


def _centre(shares: Tensor) -> Tensor:
    """(A, 2): row and column of the centre of mass of each map (A, H, W), in pixels."""
    rows, columns = (torch.arange(size, device=shares.device, dtype=shares.dtype) for size in shares.shape[1:])
    return torch.stack([shares.sum(2) @ rows, shares.sum(1) @ columns], dim=1)
