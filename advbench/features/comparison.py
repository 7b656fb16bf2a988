"""What sets architectures apart: dead units, filters that alias, filters that repeat. Zeiler and Fergus 2014, 4.1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.gradients import frozen
from advbench.core.map_reader import MapReader, reading_maps
from advbench.features.activations import Images, channels_second, device_of
from advbench.features.layers import first_convolution
from advbench.types import ConfigError

_SAME = 0.95  # |cosine| of two filters that do the same
_HIGH = 0.25  # cycles per pixel: half of what a grid of pixels can hold
_GRID = 64  # points of the discrete spectrum in each direction


@dataclass(frozen=True)
class Comparison:
    """Shares in [0, 1] of one network.

    dead: channels of a ReLU that are 0 for all images, at each use of one, in the order of the network (`dead_units`).
    high_frequency: energy of the first layer's filters above 0.25 cycles per pixel. aliasing: their energy at
    frequencies that its stride folds back. duplicates: filters of the first layer with another at |cosine| >= 0.95.
    """

    first_layer: str
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dead: tuple[tuple[str, float], ...]
    high_frequency: float
    aliasing: float
    duplicates: float

    @property
    def dead_share(self) -> float:
        """The mean over the uses; 0 without a ReLU."""
        return sum(share for _, share in self.dead) / len(self.dead) if self.dead else 0.0


def comparison(model: nn.Module, images: Images, ids: Tensor, *, batch: int = 32) -> Comparison:
    """Measure `model` on images(ids), ids (N,) int64. Raises ConfigError for a model without a convolution."""
    if not len(ids):
        raise ConfigError("a comparison needs images: a unit is dead if none of them wakes it")
    name = first_convolution(model)
    layer = dict(model.named_modules())[name]
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight.detach().float().cpu()
    stride = (int(layer.stride[0]), int(layer.stride[1]))
    return Comparison(
        first_layer=name,
        filters=len(weight),
        kernel=(int(weight.shape[2]), int(weight.shape[3])),
        stride=stride,
        dead=tuple(dead_units(model, images, ids, batch=batch).items()),
        high_frequency=energy_above(weight, (_HIGH, _HIGH)),
        aliasing=energy_above(weight, (0.5 / stride[0], 0.5 / stride[1])),
        duplicates=duplicate_share(weight),
    )


def dead_units(model: nn.Module, images: Images, ids: Tensor, *, batch: int = 32) -> dict[str, float]:
    """Share of the channels of each ReLU module that are 0 everywhere in every image: layer -> [0, 1].

    One used several times, as in the blocks of a ResNet, counts at each use: "relu", "relu#2", in the order of the
    network. ReLU called as a function is not seen, only modules are.
    """
    device = device_of(model)
    alive: dict[str, Tensor] = {}
    for part in torch.split(ids, batch):
        with torch.no_grad(), frozen(model), _uses(model) as awake:
            model(images(part).to(device))
        for use, channels in awake.items():
            alive[use] = channels | alive[use] if use in alive else channels
    return {use: 1.0 - float(channels.float().mean()) for use, channels in alive.items()}


@contextmanager
def _uses(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Inside, a forward pass fills the yielded dict: use of a ReLU module -> which channels (C,) some image wakes."""
    awake: dict[str, Tensor] = {}
    calls = Counter[str]()

    def watch(name: str, reader: MapReader) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            calls[name] += 1
            use = name if calls[name] == 1 else f"{name}#{calls[name]}"
            positive = channels_second(reader.channels_first(output)) > 0
            awake[use] = positive.any(0) if positive.dim() == 2 else positive.flatten(2).any(2).any(0)

        return hook

    relus = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ReLU | nn.ReLU6)]
    with reading_maps(model) as reader:
        handles = [module.register_forward_hook(watch(name, reader)) for name, module in relus]
        try:
            yield awake
        finally:
            for handle in handles:
                handle.remove()


def energy_above(weight: Tensor, limits: tuple[float, float]) -> float:
    """Share of the spectral energy of filters (out, in, h, w) at |frequency| > limit in rows or in columns.

    limits: cycles per pixel, for vertical and horizontal frequencies; 0.5 is all that pixels can hold, so that share
    is 0.
    """
    power = torch.fft.fft2(weight.double(), s=(_GRID, _GRID)).abs().square().sum((0, 1))
    frequency = torch.fft.fftfreq(_GRID, dtype=torch.float64).abs()
    above = (frequency[:, None] > limits[0]) | (frequency[None] > limits[1])
    total = float(power.sum())
    return float(power[above].sum()) / total if total > 0 else 0.0


def duplicate_share(weight: Tensor, *, same: float = _SAME) -> float:
    """Share of filters (out, ...) with another whose cosine to it is `same` or more in magnitude."""
    flat = functional.normalize(weight.flatten(1).double(), dim=1)
    alike = (flat @ flat.T).abs().fill_diagonal_(0.0)
    return float((alike >= same).any(1).double().mean())
