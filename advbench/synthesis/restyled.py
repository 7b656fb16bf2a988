"""A copy of a network that makes smoother pictures: average for maximum pooling, and no black frame around images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.copying import copy_of
from advbench.synthesis.compared import features
from advbench.synthesis.compensated_pool import CompensatedPool
from advbench.synthesis.rimmed_conv import repad
from advbench.synthesis.stages import stages
from advbench.types import ConfigError

POOLINGS = ("as it is", "average")
_LOOKS = 3  # passes in which a strength is corrected: biases make maps more than proportional to it
PADDINGS = ("as it is", "zeros", "reflect", "replicate", "circular")


def restyled(
    model: nn.Module, image: Tensor, *, pooling: str = "as it is", padding: str = "as it is"
) -> tuple[nn.Module, int]:
    """A network with other pooling and padding that shares all weights with `model`, and the number of pools replaced.

    pooling "average": `nn.MaxPool2d` modules average instead, times what makes the maps behind each as strong on each
    of `image` (B, C, H, W) as they were; a constant image gives the same. The network is then for these B samples, in
    this order. padding: what convolutions see outside of their maps. `model` itself is left alone, and comes back where
    nothing is asked for. Raises ConfigError for other words, and for "average" where the network has no such module.
    Gatys et al. 2015, arXiv:1505.07376, section 2.
    """
    for what, given, allowed in (("pooling", pooling, POOLINGS), ("padding", padding, PADDINGS)):
        if given not in allowed:
            raise ConfigError(f"{what} must be one of {', '.join(allowed)}, got {given!r}")
    if (pooling, padding) == ("as it is", "as it is"):
        return model, 0
    # Weights are shared: the copy of a VGG-19 would be half a gigabyte.
    twin = copy_of(model, shared=(*model.parameters(), *model.buffers()))
    if padding != "as it is":
        for module in twin.modules():
            if isinstance(module, nn.Conv2d):
                repad(module, padding)
    if pooling == "as it is":
        return twin, 0
    with torch.inference_mode(False):  # a gradient will go through the strengths
        pools = _replace_pools(twin, torch.ones(len(image), 1, 1, 1, dtype=image.dtype, device=image.device))
        if not pools:
            raise ConfigError(f'{type(model).__name__} has no MaxPool2d modules to replace: leave pooling "as it is"')
        _compensate(model, twin, pools, image)
    return twin, len(pools)


def _replace_pools(model: nn.Module, strength: Tensor) -> list[CompensatedPool]:
    replaced: dict[nn.Module, CompensatedPool] = {}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                replaced.setdefault(child, CompensatedPool(child, strength))
                setattr(parent, name, replaced[child])
    return list(replaced.values())


def _compensate(model: nn.Module, twin: nn.Module, pools: list[CompensatedPool], image: Tensor) -> None:
    """Give each pool, for each sample, the strength with which the first wide layer behind it has the mean it had."""
    found = stages(model, image)
    wanted = features(model, image, [stage.layers[0] for stage in found])
    for pool in pools:
        for _ in range(_LOOKS):
            features(twin, image, [found[-1].layers[0]])  # so that the pool knows its size
            layer = next((stage.layers[0] for stage in found if stage.side <= pool.side), None)
            if layer is None:
                break
            mean, before = _size(features(twin, image, [layer])[layer]), _size(wanted[layer])
            pool.strength = pool.strength * torch.where(mean > 0, before / mean.where(mean > 0, 1.0), 1.0)


def _size(maps: Tensor) -> Tensor:
    """(B, 1, 1, 1): the mean absolute value of maps (B, C, h, w)."""
    return maps.abs().mean((1, 2, 3), keepdim=True)
