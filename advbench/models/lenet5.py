"""The LeNet-5 variant that MNIST robustness papers attack: 3 x 3 convolutions of 32 and 64 channels with pooling.

LeCun et al. 1998 gave the plan (convolve, pool, convolve, pool, classify); the sizes are those of the networks
trained in arXiv:1902.07623.
"""

from __future__ import annotations

from torch import nn

from advbench.models.seeding import seeded
from advbench.registry import model
from advbench.types import ConfigError


@model(paper="arXiv:1902.07623")
def lenet5(shape: tuple[int, int, int], classes: int, *, seed: int = 0) -> nn.Module:
    """Two convolutions (32, 64 channels) with ReLU and 2 x 2 max pooling, a hidden layer of 200 units, linear.

    Raises ConfigError if images are smaller than 4 x 4.
    """
    channels, height, width = shape
    if min(height, width) < 4:
        raise ConfigError(f"lenet5 needs images of at least 4 x 4 pixels, got {height} x {width}")
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), 200),
            nn.ReLU(),
            nn.Linear(200, classes),
        )
