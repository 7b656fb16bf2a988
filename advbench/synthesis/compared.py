"""Targets that compare what layers see in a picture with what they saw in others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.activations import Partial
from advbench.core.gradients import frozen
from advbench.core.targets import Reading, Target
from advbench.types import ConfigError

_AMPLE = 224  # pixels of a side that the networks of photographs are made for

Distance = Callable[[Tensor, Tensor], Tensor]  # maps (A, C, H, W) of the rows (A,) -> (A,)


class Term(NamedTuple):
    """What is to become small: a distance of a layer's maps, times a weight per sample (B,)."""

    layer: str
    weight: Tensor
    distance: Distance


def features(model: nn.Module, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """What the layers put out for image (B, 3, H, W), without graph; the pass ends behind the last of them.

    Raises ConfigError if the image is too small for a layer.
    """
    try:
        with frozen(model), torch.no_grad():
            return Partial(model, layers, image[:1])(image)
    except RuntimeError as error:
        layer = _too_small_for(model, image[:1], layers)
        if layer is None:
            raise
        pixels = f"{image.shape[2]} x {image.shape[3]} pixels"
        remedy = "give a larger size (--size), fewer scales, or layers that come earlier"
        raise ConfigError(f"{pixels} are too few for layer {layer!r} of {type(model).__name__}: {remedy}") from error


def _too_small_for(model: nn.Module, image: Tensor, layers: Sequence[str]) -> str | None:
    """The first layer that no pass of the image (1, C, H, W) reaches, but one of a larger image does."""
    larger = functional.interpolate(image, [max(_AMPLE, side) for side in image.shape[2:]])
    asked = (layer for layer in layers if not _reaches(model, image, layer) and _reaches(model, larger, layer))
    return next(asked, None)


def _reaches(model: nn.Module, image: Tensor, layer: str) -> bool:
    try:
        with frozen(model):
            Partial(model, [layer], image)
    except RuntimeError:
        return False
    return True


def distances_at(maps: Mapping[str, Tensor], distances: Mapping[str, Distance]) -> dict[str, Tensor]:
    """Each layer's distance (B,) for the whole batch's maps."""
    rows = {layer: torch.arange(len(maps[layer]), device=maps[layer].device) for layer in distances}
    return {layer: distance(maps[layer], rows[layer]) for layer, distance in distances.items()}


def nearness(terms: Sequence[Term], name: str) -> Target:
    """Minus the sum of the terms."""

    layers = tuple(dict.fromkeys(term.layer for term in terms))

    def part(layer: str, maps: Tensor, rows: Tensor) -> Tensor:
        mine = [term for term in terms if term.layer == layer]
        return -torch.stack([term.weight[rows] * term.distance(maps, rows) for term in mine]).sum(0)

    def read(reading: Reading) -> Tensor:
        return torch.stack([part(layer, reading.layers[layer], reading.rows) for layer in layers]).sum(0)

    return Target(read, layers, name, whole=False, parts=part)


def balanced(values: Mapping[str, Tensor], shares: Mapping[str, float]) -> dict[str, Tensor]:
    """Weights with which the values (B,) of layers, from a first look, sum to 1 in these shares; 0 for a value of 0."""
    whole = sum(shares.values())
    return {layer: _inverse(value) * (shares[layer] / whole) for layer, value in values.items()}


def _inverse(value: Tensor) -> Tensor:
    return torch.where(value > 0, 1.0 / torch.where(value > 0, value, 1.0), 0.0)


def shares_of(layers: Sequence[str], weights: Sequence[float]) -> dict[str, float]:
    """Weights by layer, equal ones if none are given. Raises ConfigError for another number of them, or negative."""
    given = list(weights) or [1.0] * len(layers)
    if len(given) != len(layers):
        raise ConfigError(f"{len(given)} weights for {len(layers)} layers ({', '.join(layers)})")
    if min(given) < 0 or max(given) == 0:
        raise ConfigError(f"weights must not be negative, and not all 0, got {given}")
    return dict(zip(layers, given, strict=True))
