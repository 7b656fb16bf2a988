"""Hue, saturation and value of images in [0, 1], differentiable almost everywhere."""

from __future__ import annotations

import torch
from torch import Tensor


def rgb_to_hsv(image: Tensor) -> Tensor:
    """(B, 3, H, W) red, green, blue in [0, 1] -> hue in [0, 1), saturation and value in [0, 1]; greys have hue 0."""
    value, largest = image.max(1)  # (B, H, W)
    chroma = value - image.amin(1)
    red, green, blue = image.unbind(1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    # Which channel is the largest decides the third of the circle.
    sixths = torch.stack([(green - blue) / safe, (blue - red) / safe + 2.0, (red - green) / safe + 4.0])
    hue = sixths.gather(0, largest[None])[0] / 6.0
    saturation = chroma / torch.where(value > 0, value, torch.ones_like(value))
    return torch.stack([torch.where(chroma > 0, hue.remainder(1.0), torch.zeros_like(hue)), saturation, value], 1)


def hsv_to_rgb(image: Tensor) -> Tensor:
    """The inverse of `rgb_to_hsv`; any hue is taken on the circle."""
    hue, saturation, value = image.unbind(1)
    channels = []
    for start in (5.0, 3.0, 1.0):
        place = (start + 6.0 * hue).remainder(6.0)
        channels.append(value - value * saturation * torch.minimum(place, 4.0 - place).clamp(0.0, 1.0))
    return torch.stack(channels, 1)
