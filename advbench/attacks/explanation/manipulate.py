"""Makes the gradient map look like another one; the class stays. Dombrowski et al. 2019, arXiv:1906.07983."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.explanation.shift_map import Aim, MapLoss, shift_map
from advbench.core.draws import Draws
from advbench.core.step_rules import adam
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

_ASIDE = 1e-3  # of a pixel's share


@attack(norms=(2, inf), access="gradient", paper="arXiv:1906.07983", keeps_label=True, cost=(3003, 4502))
def manipulate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    steps: int = 1500,
    target_map: Tensor | None = None,
    relative_step: float = 2.5,
    first_beta: float = 10.0,
    last_beta: float = 100.0,
    output_weight: float = 10.0,
) -> Tensor:
    """x_adv of the predicted class whose gradient map is nearest to `target_map`, or least like the map of x.

    The map is the gradient of the predicted class's score, its absolute values summed over channels, over their sum.
    target_map (H, W), not negative, one for all samples: the squared distance to it is lowered, in units of that at x.
    None: the cosine between the map and that of x is lowered. Adam descends on the network with softplus for ReLU,
    whose sharpness grows from first_beta to last_beta by equal factors; kept is the best on the network as it is.
    relative_step: Adam's step in units of eps / steps (the paper's 2e-4 in normalised units is about 2 of them at eps
    8/255). output_weight: of the squared distance between the class probabilities at x_adv and x, which may not change
    either (about the paper's ratio of 1e6 to 1e11, whose maps are not in units of a distance). `y` and `draws` are not
    used.
    Raises ConfigError if threat.eps is None, steps < 1, a step or a beta is not positive, output_weight is negative or
    target_map does not fit.
    """
    size = positive("relative_step", relative_step) * threat.radius / at_least_one("steps", steps)
    growth = positive("last_beta", last_beta) / positive("first_beta", first_beta)
    wanted = None if target_map is None else _as_shares(target_map, x)

    def aim(shares: Tensor) -> Aim:
        return _away(shares) if wanted is None else _towards(wanted, shares)

    return shift_map(
        model,
        x,
        threat,
        aim=aim,
        step=adam(size),
        betas=[first_beta * growth ** (i / max(1, steps - 1)) for i in range(steps)],
        output_weight=at_least_zero("output_weight", output_weight),
    )


def _towards(wanted: Tensor, shares: Tensor) -> Aim:
    at_first = (shares - wanted).flatten(1).square().sum(1)
    unit = torch.where(at_first > 0, at_first, 1.0)

    def distance(found: Tensor, rows: Tensor) -> Tensor:
        return (found - wanted).flatten(1).square().sum(1) / unit[rows]

    return Aim(distance, distance, done=0.0)


def _away(shares: Tensor) -> Aim:
    # A little aside: from the map itself, where a network without ReLUs begins, the cosine has no slope.
    origin = shares.flatten(1)
    aside = 1.0 + _ASIDE * torch.linspace(-1.0, 1.0, origin.shape[1], dtype=origin.dtype, device=origin.device)
    return Aim(_cosine(origin * aside), _cosine(origin), done=0.0)


def _cosine(origin: Tensor) -> MapLoss:
    """To the maps `origin` (B, H * W)."""
    length = origin.square().sum(1).sqrt()

    def cosine(found: Tensor, rows: Tensor) -> Tensor:
        flat = found.flatten(1)
        return (flat * origin[rows]).sum(1) / (flat.square().sum(1).sqrt() * length[rows])

    return cosine


def _as_shares(target_map: Tensor, x: Tensor) -> Tensor:
    """The target (H, W) over its sum, on the device and in the dtype of x."""
    fits = target_map.shape == x.shape[2:] and bool((target_map >= 0).all()) and bool(target_map.sum() > 0)
    if not fits:
        raise ConfigError(
            f"target_map must be {tuple(x.shape[2:])}, not negative and not zero, got {tuple(target_map.shape)}"
        )
    known = target_map.to(x)
    return known / known.sum()
