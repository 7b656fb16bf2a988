"""What attacks check before they start."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advbench.models.check import check_images
from advbench.types import ConfigError, ThreatModel


def at_least_one(name: str, value: int) -> int:
    """`value`. Raises ConfigError if it is below 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, got {value}")
    return value


def positive(name: str, value: float) -> float:
    """`value`. Raises ConfigError unless it is above 0 and finite."""
    if not 0 < value < math.inf:
        raise ConfigError(f"{name} must be positive and finite, got {value}")
    return value


def at_least_zero(name: str, value: float) -> float:
    """`value`. Raises ConfigError if it is below 0 or not finite."""
    if not 0 <= value < math.inf:
        raise ConfigError(f"{name} must not be negative or infinite, got {value}")
    return value


def other_images(name: str, images: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """`images` (N, C, H, W) in the dtype of x (B, C, H, W) and where it is.

    Raises ConfigError unless they are what x must be, float32 or float64 and finite in the threat's box, and at least
    one, of the size of x.
    """
    try:
        check_images(images, dtypes=(torch.float32, torch.float64), low=threat.low, high=threat.high)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    if not len(images) or images.shape[1:] != x.shape[1:]:
        size = ", ".join(map(str, x.shape[1:]))
        raise ConfigError(f"{name}: images must be (N, {size}) with N >= 1, got shape {tuple(images.shape)}")
    return images.to(x)
