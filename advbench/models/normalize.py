"""Normalisation as a layer of the model, so that images and radii stay in [0, 1] everywhere else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from advbench.types import ConfigError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # the constants of torchvision's published weights
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))  # of the 50,000 training images
GREY = ((0.5,), (0.5,))


class Normalize(nn.Module):
    """(x - mean) / std per channel, for x (B, C, H, W). The constants are no weights: the state dict is without them.

    mean, std: C numbers each, in [0, 1] pixel units. Raises ConfigError if they differ in number or a std is not
    positive, and for images of another number of channels: a single one would become C.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean or not all(value > 0 for value in std):
            raise ConfigError(f"normalize needs as many positive std as mean, got mean {mean}, std {std}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (_of_channels(x, self.mean) - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


@fx.wrap  # a network with this layer can still be traced
def _of_channels(x: Tensor, mean: Tensor) -> Tensor:
    if x.dim() != 4 or x.shape[1] != mean.shape[1]:
        raise ConfigError(f"the normalisation takes {mean.shape[1]} channels, got images {tuple(x.shape[1:])}")
    return x


class Normalized(nn.Sequential):
    """`normalize`, then `net`. Weights files hold the keys of `net` alone, as its publisher wrote them."""

    net: nn.Module

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(OrderedDict(normalize=Normalize(mean, std), net=net))


def cifar_normalized(net: nn.Module, channels: int) -> Normalized:
    """`net` behind CIFAR-10's constants if images have three channels, else behind mean 0.5 and std 0.5."""
    if channels == 3:
        return Normalized(net, *CIFAR10)
    mean, std = GREY
    return Normalized(net, mean * channels, std * channels)
