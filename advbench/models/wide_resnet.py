"""Wide residual network. Zagoruyko & Komodakis 2016, arXiv:1605.07146."""

from __future__ import annotations

from torch import nn

from advbench.models.preact_network import preact_network
from advbench.models.seeding import seeded
from advbench.registry import model
from advbench.types import ConfigError


@model(paper="arXiv:1605.07146")
def wide_resnet(
    shape: tuple[int, int, int], classes: int, *, seed: int = 0, depth: int = 28, width: int = 10
) -> nn.Module:
    """WRN-`depth`-`width`: three stages of (depth - 4) / 6 blocks with 16, 32, 64 times `width` channels.

    28-10 has 36.5 million weights, 34-10 has 46.2. Raises ConfigError if (depth - 4) is no positive multiple of 6.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ConfigError(f"wide_resnet: depth must be 6 n + 4 (10, 16, 22, 28, 34, ...), got {depth}")
    with seeded(seed):
        widths = [16 * width, 32 * width, 64 * width]
        return preact_network(shape[0], classes, stem=16, widths=widths, blocks=blocks)
