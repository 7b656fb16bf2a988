"""Softmax regression: one affine layer, for which the nearest adversarial example is known in closed form."""

from __future__ import annotations

import math

from torch import nn

from advbench.models.seeding import seeded
from advbench.registry import model


@model()
def linear(shape: tuple[int, int, int], classes: int, *, seed: int = 0) -> nn.Module:
    """Flatten, linear."""
    with seeded(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))
