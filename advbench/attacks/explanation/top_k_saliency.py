"""Empties the most important pixels of the gradient map; the class stays. Ghorbani et al. 2019, arXiv:1710.10547."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.explanation.shift_map import Aim, shift_map
from advbench.core.draws import Draws
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

_MOST, _SHARE = 1000, 0.1  # pixels: what the paper takes of 224 x 224, and no more than this share of smaller images


@attack(norms=(2, inf), access="gradient", paper="arXiv:1710.10547", keeps_label=True, cost=(603, 902))
def top_k_saliency(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    steps: int = 300,
    k: int | None = None,
    relative_step: float = 18.75,
    beta: float = 10.0,
) -> Tensor:
    """x_adv of the predicted class whose k most important pixels share the fewest with those of x.

    The map is the gradient of the predicted class's score, its absolute values summed over channels. Each step lowers
    the share of the map that the k pixels of x hold, on the network with softplus (sharpness beta) for ReLU; kept is
    what overlaps least on the network as it is. k: pixels; None: 1,000, but at most a tenth of the image.
    relative_step: length of a step in units of eps / steps; the default is the paper's 0.5/255 at eps 8/255 and 300
    steps. `y` and `draws` are not used.
    Raises ConfigError if threat.eps is None, steps < 1, a step or beta is not positive, or k is not in 1 .. H * W.
    """
    pixels = x.shape[2] * x.shape[3]
    count = min(_MOST, max(1, round(_SHARE * pixels))) if k is None else k
    if not 1 <= count <= pixels:
        raise ConfigError(f"k must be in 1 .. {pixels}, the number of pixels, got {k}")
    size = positive("relative_step", relative_step) * threat.radius / at_least_one("steps", steps)

    def aim(shares: Tensor) -> Aim:
        top = _largest(shares, count)

        def left(found: Tensor, rows: Tensor) -> Tensor:
            return (found * top[rows]).flatten(1).sum(1)

        def overlap(found: Tensor, rows: Tensor) -> Tensor:
            return (_largest(found, count) * top[rows]).flatten(1).sum(1) / count

        return Aim(left, overlap, done=0.0)

    return shift_map(
        model, x, threat, aim=aim, step=steepest(threat.norm, size), betas=[positive("beta", beta)] * steps
    )


def _largest(shares: Tensor, count: int) -> Tensor:
    """1 at the `count` largest pixels of each map (A, H, W), else 0."""
    flat = shares.flatten(1)
    return torch.zeros_like(flat).scatter(1, flat.topk(count, dim=1).indices, 1.0).reshape(shares.shape)
