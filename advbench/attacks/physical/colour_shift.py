"""Other colours, same shapes: hue and saturation shifted at random. Hosseini and Poovendran 2018, arXiv:1804.00499."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.core.colour import hsv_to_rgb, rgb_to_hsv
from advbench.core.draws import Draws
from advbench.core.gradients import frozen, labels_at
from advbench.core.projections import within
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(inf,), access="decision", paper="arXiv:1804.00499", unbounded=True, structured=True, cost=(1001, 0))
def colour_shift(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    tries: int = 1000,
) -> Tensor:
    """x_adv: the first of `tries` recoloured images that fools, else x.

    Try i adds one number to the hue of all pixels, uniform on the circle, and one to their saturation, uniform in
    [-i / tries, i / tries] and cut at 0 and 1: small changes of saturation come first (algorithm 1 of the paper). The
    value, so the shape, stays. Images without three channels have no colour and come back as they are.
    The norm only measures: without a radius every colour is allowed, with one each try is projected into the ball
    before the model sees it. Raises ConfigError if tries < 1.
    """
    at_least_one("tries", tries)
    project, width = within(threat, x), threat.high - threat.low
    found = x.clone()
    left = torch.arange(len(x), device=x.device)
    with frozen(model):
        left = left[(labels_at(model, x, left) == y) != targeted]
        if x.shape[1] != 3 or not len(left):
            return found
        hue, saturation, value = rgb_to_hsv((x - threat.low) / width).chunk(3, dim=1)
        for i in range(tries):
            if not len(left):
                break
            turn, drift = draws.rows(left).uniform((2, 1, 1, 1), "colour", i).to(x).unbind(1)  # (A, 1, 1, 1) each
            drift = (2.0 * drift - 1.0) * (i + 1) / tries
            shifted = torch.cat([hue[left] + turn, (saturation[left] + drift).clamp(0.0, 1.0), value[left]], 1)
            z = project(threat.low + width * hsv_to_rgb(shifted), left)
            fooled = (labels_at(model, z, left) == y[left]) == targeted
            found[left[fooled]] = z[fooled]
            left = left[~fooled]
    return found
