"""Mean and standard deviation of feature maps, channel by channel: what adaptive instance normalisation exchanges."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

_EPS = 1e-5  # added to the variance, arXiv:1703.06868, published code


class Statistics(NamedTuple):
    """Per sample and channel, (B, C, 1, 1) each."""

    mean: Tensor
    deviation: Tensor


def statistics(maps: Tensor) -> Statistics:
    """Over the positions of maps (B, C, H, W); the variance is divided by H W and has 1e-5 added."""
    variance = maps.var((2, 3), keepdim=True, unbiased=False)
    return Statistics(maps.mean((2, 3), keepdim=True), (variance + _EPS).sqrt())


def with_statistics(maps: Tensor, wanted: Statistics) -> Tensor:
    """maps (B, C, H, W), shifted and scaled per channel to the wanted mean and deviation: AdaIN.

    Huang and Belongie 2017, arXiv:1703.06868, equation 8.
    """
    own = statistics(maps)
    return (maps - own.mean) / own.deviation * wanted.deviation + wanted.mean
