"""What a layer puts out for many images: read batch by batch, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from advbench.core.activations import check_reached, record
from advbench.core.gradients import frozen
from advbench.types import ConfigError

Images = Callable[[Tensor], Tensor]  # ids (B,) int64 -> images (B, C, H, W) float32 in [0, 1]


class Seen(NamedTuple):
    """A batch: ids (B,), their images (B, C, H, W) and what the layer makes of them (B, ...)."""

    ids: Tensor
    x: Tensor
    output: Tensor


def activations(model: nn.Module, x: Tensor, layer: str) -> Tensor:
    """What `layer` puts out for x (B, C, H, W): (B, ...), without graph. Raises ConfigError for an unknown layer."""
    with torch.no_grad(), frozen(model), record(model, [layer]) as outputs:
        model(x)
    check_reached(model, [layer], outputs)
    return outputs[layer]


def activation_batches(
    model: nn.Module, layer: str, images: Images, ids: Tensor, *, batch: int = 32, progress: bool = False
) -> Iterator[Seen]:
    """`activations` of images(ids), `batch` at a time; ids (N,) int64. The model runs where its weights are."""
    device = device_of(model)
    for part in tqdm(torch.split(ids, batch), layer, unit="batch", leave=False, disable=not progress):
        x = images(part).to(device)
        yield Seen(part, x, activations(model, x, layer))


def channels_second(output: Tensor) -> Tensor:
    """A layer's output (B, C, ...): tokens (B, T, C), as transformers have them, turned to (B, C, T)."""
    return output.movedim(-1, 1) if output.dim() == 3 else output


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are; the processor for a model without any."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def features(
    model: nn.Module, layer: str, images: Images, ids: Tensor, *, pooled: bool = True, progress: bool = False
) -> Tensor:
    """A vector per image: (N, D) float32 on the CPU.

    pooled: maps (C, H, W) become their C means over all places, so that a shift of the object matters little; tokens
    (T, C) likewise. Otherwise everything is laid out in a row.
    """
    rows = [_vector(seen.output, pooled) for seen in activation_batches(model, layer, images, ids, progress=progress)]
    if not rows:
        raise ConfigError("features of no images: at least one is needed")
    return torch.cat(rows)


def _vector(output: Tensor, pooled: bool) -> Tensor:
    if pooled and output.dim() == 4:
        output = output.mean((2, 3))
    elif pooled and output.dim() == 3:
        output = output.mean(1)
    return output.flatten(1).float().cpu()
