"""The same picture dreamt at several layers, low to high: strokes and ornaments first, whole things last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.layer_order import finishing_order
from advbench.registry import synthesis
from advbench.synthesis.dream.dream import dream, noise_image, one_image
from advbench.synthesis.dream.dream_target import dream_layer, map_blocks
from advbench.types import ConfigError


@synthesis(paper="https://research.google/blog/inceptionism-going-deeper-into-neural-networks/")
def dream_strip(
    model: nn.Module,
    image: Tensor | None = None,
    *,
    draws: Draws,
    layers: Sequence[str] | None = None,
    count: int = 6,
    octaves: int = 4,
    steps: int = 10,
    step_size: float = 1.5 / 255,
    shape: tuple[int, int, int] = (3, 224, 224),
) -> Tensor:
    """One dream for each layer (L, C, H, W) in [0, 1], over image (1, C, H, W) or over noise of `shape`.

    layers: names; None takes `strip_layers`, `count` of them. All layers start from the same noise. The rest as in
    `dream`. Raises ConfigError for an unknown layer and more than one image.
    """
    mine = draws.rows(torch.arange(1))
    start = noise_image(mine, shape) if image is None else one_image(image.detach(), "dream_strip")
    names = list(layers) if layers is not None else strip_layers(model, start, count)
    dreams = [
        dream(model, start, draws=mine, layers=name, octaves=octaves, steps=steps, step_size=step_size)
        for name in names
    ]
    return torch.cat(dreams)


def strip_layers(model: nn.Module, image: Tensor, count: int) -> list[str]:
    """At most `count` layers with maps, evenly spread from the first up to where dreams end (`dream_layer`)."""
    if count < 1:
        raise ConfigError(f"dream_strip: count must be at least 1, got {count}")
    outer = map_blocks(model, finishing_order(model, image[:1]), dream_layer(model, image[:1]))
    steps = max(min(count, len(outer)) - 1, 1)
    return list(dict.fromkeys(outer[round(i * (len(outer) - 1) / steps)] for i in range(steps + 1)))
