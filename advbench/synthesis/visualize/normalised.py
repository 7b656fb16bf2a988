"""The space that a network's first layer maps pixels into: (x - mean) / std per channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_MEAN, _STD = 0.5, 0.25  # of photographs, roughly: for models that do not normalise


@dataclass(frozen=True, eq=False)
class Normalisation:
    """mean, std (1, C, 1, 1), in [0, 1] pixel units."""

    mean: Tensor
    std: Tensor

    def into(self, image: Tensor) -> Tensor:
        """Pixels (B, C, H, W) in units of std around the mean."""
        return (image - self.mean.to(image)) / self.std.to(image)

    def out(self, z: Tensor) -> Tensor:
        """Back to pixels."""
        return self.mean.to(z) + self.std.to(z) * z


def normalisation_of(model: nn.Module, channels: int) -> Normalisation:
    """That of the first module with a `mean` and a `std` of one or `channels` numbers; mean 0.5, std 0.25 without."""
    for module in model.modules():
        mean, std = getattr(module, "mean", None), getattr(module, "std", None)
        if isinstance(mean, Tensor) and isinstance(std, Tensor) and {mean.numel(), std.numel()} <= {1, channels}:
            ones = torch.ones(1, channels, 1, 1, device=mean.device)
            return Normalisation(mean.detach().reshape(1, -1, 1, 1) * ones, std.detach().reshape(1, -1, 1, 1) * ones)
    return Normalisation(torch.full((1, channels, 1, 1), _MEAN), torch.full((1, channels, 1, 1), _STD))
