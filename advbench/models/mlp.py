"""Multilayer perceptron: fully connected layers with ReLU between them."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from advbench.models.seeding import seeded
from advbench.registry import model


@model()
def mlp(shape: tuple[int, int, int], classes: int, *, seed: int = 0, width: int = 256, depth: int = 2) -> nn.Module:
    """Flatten, `depth` hidden layers of `width` units with ReLU, linear."""
    sizes = [math.prod(shape), *[width] * depth]
    with seeded(seed):
        hidden = [layer for fan_in, fan_out in pairwise(sizes) for layer in (nn.Linear(fan_in, fan_out), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], classes))
