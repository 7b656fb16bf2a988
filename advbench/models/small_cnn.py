"""A small strided CNN that trains fast, for 8 x 8 to 32 x 32 images. After Wong & Kolter 2018, arXiv:1711.00851."""

from __future__ import annotations

from torch import nn

from advbench.models.seeding import seeded
from advbench.registry import model
from advbench.types import ConfigError


@model(paper="arXiv:1711.00851")
def small_cnn(shape: tuple[int, int, int], classes: int, *, seed: int = 0, width: int = 32) -> nn.Module:
    """Two 4 x 4 convolutions of stride 2 (`width` and 2 `width` channels), a hidden layer of 100 units, linear.

    The paper's network has width 16. Raises ConfigError if images are smaller than 4 x 4.
    """
    channels, height, width_in = shape
    if min(height, width_in) < 4:
        raise ConfigError(f"small_cnn needs images of at least 4 x 4 pixels, got {height} x {width_in}")
    features = 2 * width * (height // 4) * (width_in // 4)  # each convolution halves, rounding down
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(features, 100),
            nn.ReLU(),
            nn.Linear(100, classes),
        )
