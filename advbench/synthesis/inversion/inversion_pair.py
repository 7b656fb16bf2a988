"""What the layers see in an adversarial image, beside what they see in the clean one: both inverted layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.synthesis.inversion.inversion import inversion
from advbench.types import ConfigError


class InversionPair(NamedTuple):
    """Pictures (L, B, C, H, W) in [0, 1], one for each layer and image."""

    clean: Tensor
    adversarial: Tensor


def inversion_pair(
    model: nn.Module,
    x: Tensor,
    x_adv: Tensor,
    layers: Sequence[str],
    *,
    draws: Draws,
    steps: int = 300,
    restarts: int = 1,
) -> InversionPair:
    """Inversions of x and x_adv (B, C, H, W) from each layer, from equal starts: they differ by the features alone.

    Raises ConfigError if x and x_adv differ in shape or no layer is named.
    """
    if x.shape != x_adv.shape or not layers:
        raise ConfigError(
            f"inversion_pair: need images of one shape and a layer, got {tuple(x.shape)}, {tuple(x_adv.shape)} and "
            f"{len(layers)} layers"
        )
    found = [
        torch.stack(
            [inversion(model, each, draws=draws, layer=layer, steps=steps, restarts=restarts) for layer in layers]
        )
        for each in (x, x_adv)
    ]
    return InversionPair(*found)
