"""The modules of a network in the order in which they finish, and how deep a layer lies among those with weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advbench.core.activations import check_reached
from advbench.core.gradients import frozen
from advbench.core.map_reader import MapReader, reading_maps


def finishing_order(model: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the output for x (B, C, H, W), of each module that returns a tensor; a module after its parts.

    One used several times stands where it was used last. Maps have the shape (B, k, h, w), also of layers whose
    channels come last.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str, reader: MapReader) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                shapes.pop(name, None)
                shapes[name] = tuple(reader.channels_first(output).shape)

        return hook

    with reading_maps(model) as reader:
        handles = [module.register_forward_hook(watch(name, reader)) for name, module in model.named_modules() if name]
        try:
            with torch.no_grad(), frozen(model):
                model(x)
        finally:
            for handle in handles:
                handle.remove()
    return shapes


def depth_of(model: nn.Module, layer: str, x: Tensor) -> float:
    """The share, in (0, 1], of the convolutions and linear layers that have run when `layer` (a full name) finishes.

    Raises ConfigError for a layer that takes no part in the forward pass.
    """
    modules = dict(model.named_modules())
    weighted, at = 0, -1
    for name in finishing_order(model, x):
        weighted += isinstance(modules[name], nn.Conv2d | nn.Linear)
        at = weighted if modules[name] is modules.get(layer) else at
    check_reached(model, [layer], [layer] if at >= 0 else [])
    return max(at, 1) / max(weighted, 1)


def full_name(model: nn.Module, module: nn.Module) -> str:
    """The name under which the model holds this module."""
    names: dict[nn.Module, str] = {each: name for name, each in model.named_modules()}
    return names[module]
