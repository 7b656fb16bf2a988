"""Training on the styles of others: a net that cannot trust textures looks for shapes.

The idea is that of Stylized-ImageNet (Geirhos et al. 2019, arXiv:1811.12231); the style is exchanged inside the net, as
statistics of feature maps (Nuriel et al. 2021, arXiv:2010.05785), which costs next to nothing and needs no painter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.losses import cross_entropy
from advbench.core.statistics import Statistics, statistics, with_statistics
from advbench.registry import defense
from advbench.types import ConfigError, ThreatModel

_LEAST = 4  # positions of a map: fewer have no statistics


@defense(stage="training", paper="arXiv:2010.05785", radius=False)
def stylised(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    share: float = 1.0,
    depth: float = 1.0,
) -> Tensor:
    """Mean cross entropy, where about a `share` of the samples wears the style of another sample of the batch.

    Behind each convolution of the first `depth` (a share of them all), every map of such a sample gets the mean and the
    deviation that it has in its partner; the label stays its own. Both shares in [0, 1]. By default all, as in
    Stylized-ImageNet (the paper of the exchange itself does it rarely): half of it moved the shape bias of small nets
    less than their seed does. The threat is not looked at: this is no defense against a ball.
    Raises ConfigError for other shares and for a network without convolutions.
    """
    if not (0.0 <= share <= 1.0 and 0.0 <= depth <= 1.0):
        raise ConfigError(f"stylised: share and depth must be between 0 and 1, got {share} and {depth}")
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ConfigError(f"stylised: {type(model).__name__} has no convolutions whose maps could change their style")
    dressed = draws.uniform((1, 1, 1), "dressed") < share  # (B, 1, 1, 1)
    with _exchanged(convolutions[: math.ceil(depth * len(convolutions))], dressed, _partners(draws)):
        logits = model(x)
    return cross_entropy(logits, y).mean()


def _partners(draws: Draws) -> Tensor:
    """(B,) int64: everybody's neighbour in a random circle, so nobody's is itself."""
    circle = draws.words(1, "circle")[:, 0].argsort(stable=True)
    partners = torch.empty_like(circle)
    partners[circle] = circle.roll(1)
    return partners


@contextmanager
def _exchanged(layers: list[nn.Conv2d], dressed: Tensor, partners: Tensor) -> Iterator[None]:
    def hook(module: nn.Module, inputs: object, maps: Tensor) -> Tensor:
        if maps.shape[2] * maps.shape[3] < _LEAST:
            return maps
        own = statistics(maps)
        theirs = Statistics(own.mean[partners], own.deviation[partners])
        return torch.where(dressed, with_statistics(maps, theirs), maps)

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
