"""Draws the gradient map into a rectangle of the image; the class stays. Ghorbani et al. 2019, arXiv:1710.10547."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.explanation.shift_map import Aim, shift_map
from advbench.core.draws import Draws
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1710.10547", keeps_label=True, cost=(603, 902))
def targeted_region(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    steps: int = 300,
    region: tuple[float, float, float, float] = (0.0, 0.0, 0.25, 0.25),
    relative_step: float = 18.75,
    beta: float = 10.0,
) -> Tensor:
    """x_adv of the predicted class with the largest share of its gradient map inside `region`.

    region: top, left, bottom, right as shares of height and width; the default is the upper left corner, a sixteenth of
    the image. The map, the smooth network and the steps are those of `top_k_saliency`: relative_step in units of
    eps / steps, beta the sharpness of the softplus. `y` and `draws` are not used.
    Raises ConfigError if threat.eps is None, steps < 1, a step or beta is not positive, or the region is none.
    """
    size = positive("relative_step", relative_step) * threat.radius / at_least_one("steps", steps)
    inside = _inside(x, region)

    def aim(shares: Tensor) -> Aim:
        def outside(found: Tensor, rows: Tensor) -> Tensor:
            return 1.0 - (found * inside).flatten(1).sum(1)

        return Aim(outside, outside)

    return shift_map(
        model, x, threat, aim=aim, step=steepest(threat.norm, size), betas=[positive("beta", beta)] * steps
    )


def _inside(x: Tensor, region: tuple[float, float, float, float]) -> Tensor:
    """(H, W): 1 in the region, which is at least one pixel, else 0."""
    top, left, bottom, right = region
    if not (0.0 <= top < bottom <= 1.0 and 0.0 <= left < right <= 1.0):
        raise ConfigError(f"region must be top < bottom, left < right in [0, 1], got {region}")
    inside = x.new_zeros(x.shape[2:])
    height, width = x.shape[2:]
    first_row, first_column = int(top * height), int(left * width)
    last_row, last_column = max(first_row + 1, round(bottom * height)), max(first_column + 1, round(right * width))
    inside[first_row:last_row, first_column:last_column] = 1.0
    return inside
