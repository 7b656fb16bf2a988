"""Which layers speak of texture and of content, found by looking at one pass through the network, not by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.activations import module_named
from advbench.core.gradients import frozen
from advbench.core.map_reader import MapReader, reading_maps
from advbench.synthesis.compensated_pool import CompensatedPool
from advbench.types import ConfigError

_WIDE = 0.5  # of the widest map of its resolution: the narrow ends of bottlenecks tell little
_SMALLEST = 4  # rows and columns below which a map says nothing of a texture
_CONTENT = 8  # content is read where a map's side is that part of the image's: conv4_2 in a VGG
_POOLINGS = (CompensatedPool, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_USUAL = re.compile(r"(conv|relu|pool)(\d+)(?:_(\d+))?")


class Stage(NamedTuple):
    """The useful layers of one resolution, in the order in which they are done."""

    side: int  # the smaller of the map's rows and columns
    layers: tuple[str, ...]


def stages(model: nn.Module, image: Tensor) -> list[Stage]:
    """The resolutions of a network for images like `image` (B, C, H, W), finest first, each with its wide layers.

    A layer counts if its output is a map (B, C, h, w) behind a convolution of that resolution, without negative values
    (with them where there are no others), and more than half as wide as the widest. A layer used several times counts
    where it was used last. Raises ConfigError for a network without such maps.
    """
    seen = _seen(model, image)
    found = [stage for side in dict.fromkeys(one.side for one in seen) if (stage := _stage(seen, side))]
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no convolutions whose maps could tell a texture; efros_leung and wei_levoy "
            "need no network"
        )
    return found


def texture_layers(model: nn.Module, image: Tensor) -> list[str]:
    """The first wide layer of each resolution: relu1_1, relu2_1, ... relu5_1 of a VGG, by this network's names."""
    return [stage.layers[0] for stage in stages(model, image)]


def content_layer(model: nn.Module, image: Tensor, *, part: int = _CONTENT, place: int = 1) -> str:
    """The second wide layer (or else the last before it) at an eighth of the image's size: relu4_2 of a VGG.

    part, place: another part of the size, and another layer there, counted from 0; 4 and 2 mean relu3_3.
    """
    found = stages(model, image)
    # Rounding of strided layers: 27 rows of 224 are an eighth too.
    enough = 0.9 * min(image.shape[2:]) / part
    layers = next((stage for stage in reversed(found) if stage.side >= enough), found[-1]).layers
    return layers[min(place, len(layers) - 1)]


def named_layers(model: nn.Module, names: Sequence[str], image: Tensor) -> list[str]:
    """Names that `module_named` knows for `names`, which may also be the usual ones of a VGG: conv4_2, relu1_1, pool3.

    conv4_2 is the second convolution behind the third pooling. Raises ConfigError for a layer that is not there.
    """
    known = {name.rpartition(".")[2] for name, _ in model.named_modules()} | dict(model.named_modules()).keys()
    usual = {name for name in names if name not in known and _USUAL.fullmatch(name)}
    aliases = _usual_names(model, image) if usual else {}
    for name in names:
        if name not in aliases:
            module_named(model, name)
    return [aliases.get(name, name) for name in names]


class _Seen(NamedTuple):
    name: str
    module: nn.Module
    output: Tensor
    side: int
    positive: bool  # at that time: another module may overwrite it


def _seen(model: nn.Module, image: Tensor) -> list[_Seen]:
    """What modules with maps put out in one pass, in order; the same tensor only once, under its first name."""
    seen: list[_Seen] = []

    def watch(name: str, reader: MapReader) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                maps = reader.channels_first(output)
                seen.append(_Seen(name, module, maps, min(maps.shape[2:]), bool((maps >= 0).all())))

        return hook

    with reading_maps(model) as reader:
        handles = [module.register_forward_hook(watch(name, reader)) for name, module in model.named_modules() if name]
        try:
            with frozen(model), torch.no_grad():
                model(image[:1])
        except RuntimeError:
            # A head made for another image size: the maps before it are what is looked for.
            if not seen:
                raise
        finally:
            for handle in handles:
                handle.remove()
    return seen


def _stage(seen: Sequence[_Seen], side: int) -> Stage | None:
    here = [one for one in seen if one.side == side >= _SMALLEST and not isinstance(one.module, _POOLINGS)]
    first = next((i for i, one in enumerate(here) if isinstance(one.module, nn.Conv2d)), None)
    if first is None:
        return None
    last = {one.name: one for one in here[first:]}
    ordered = [one for one in here[first:] if last[one.name] is one]
    # An in-place ReLU or a block's end is one tensor under several names: the first that has it as it stays.
    useful: dict[int, _Seen] = {}
    for one in [one for one in ordered if one.positive] or ordered:
        useful.setdefault(one.output.data_ptr(), one)
    widest = max(one.output.shape[1] for one in useful.values())
    return Stage(side, tuple(one.name for one in useful.values() if one.output.shape[1] > _WIDE * widest))


def _usual_names(model: nn.Module, image: Tensor) -> dict[str, str]:
    """conv1_1, relu1_1, ... pool1, ...: counted between the poolings of a chain of convolutions."""
    names: dict[str, str] = {}
    block, number = 1, 0
    for one in _seen(model, image):
        if isinstance(one.module, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = one.name
        elif isinstance(one.module, nn.ReLU):
            names[f"relu{block}_{number}"] = one.name
        elif isinstance(one.module, _POOLINGS):
            names[f"pool{block}"] = one.name
            block, number = block + 1, 0
    return names
