"""The image that excites each channel most, to stand before the patches that do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import unit
from advbench.synthesis.visualize.visualize import visualize

_STEPS = 96  # enough for a small picture of a channel; `advbench picture visualize` takes more


def optimised_images(
    model: nn.Module, layer: str, channels: Sequence[int], shape: tuple[int, int, int], seed: int
) -> list[Tensor]:
    """An image (C, H, W) in [0, 1] of `shape` per channel, raising the mean of its map."""
    draws = Draws(seed, torch.arange(1))
    return [visualize(model, unit(layer, channel), draws=draws, shape=shape, steps=_STEPS)[0] for channel in channels]
