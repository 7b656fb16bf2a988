"""A network from a list of layers in a JSON or YAML file, so that a small published net needs no code."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from advbench.models.normalize import Normalize
from advbench.models.seeding import seeded
from advbench.models.weights import load_weights
from advbench.names import nearest
from advbench.registry import model
from advbench.types import ConfigError, Json


@model()
def sequential(
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    *,
    seed: int = 0,
    file: Path,
    entry: str = "",
    weights: str = "",
) -> nn.Module:
    """The layers of `entry` in `file`, as one nn.Sequential.

    file: a list of entries, each with `name`, `layers` (lists such as ["conv", 1, 32, 3, 1, 1, 1]; LAYERS has all
    kinds) and perhaps `file`, its weights beside the list. entry: may be left out if there is only one.
    weights: "none" to draw them from `seed` although the entry names a file. shape, classes: if both are given, the
    network must fit them. Raises ConfigError on anything else.
    """
    chosen = read_entry(file, entry)
    where = f"{file}#{chosen.get('name', '')}"
    if weights not in ("", "none"):
        raise ConfigError(f"{where}: weights must be a file or 'none', got {weights!r}")
    with seeded(seed):
        network = _build(chosen.get("layers"), where)
    if weights != "none" and names_weights(chosen):
        load_weights(network, file.parent / str(chosen["file"]))
    if shape is not None and classes is not None:
        _check_fit(network, shape, classes, where)
    return network


def read_entry(file: Path, entry: str) -> Mapping[str, Json]:
    """The entry of that name in `file`; with "" the only one. Raises ConfigError if there is no such entry."""
    try:
        text = Path(file).read_text(encoding="utf-8")
        content = json.loads(text) if Path(file).suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read as a list of layers: {error}") from None
    entries = content if isinstance(content, list) else [content]
    if not entries or not all(isinstance(item, dict) and "layers" in item for item in entries):
        raise ConfigError(f"{file} must hold entries with 'name' and 'layers'")
    if not entry and len(entries) == 1:
        return dict(entries[0])
    names = [str(item.get("name", "")) for item in entries]
    if names.count(entry) != 1:
        raise ConfigError(f"{file} has no entry {entry!r}; {nearest(entry, names)}It has: {', '.join(names)}")
    return dict(entries[names.index(entry)])


def names_weights(entry: Mapping[str, Json]) -> bool:
    """Whether the entry says which file holds its weights."""
    return bool(entry.get("file"))


class Binarize(nn.Module):
    """1 where x >= 0.5, else 0. Its gradient is zero everywhere: that it hides the net from gradients is its point."""

    def forward(self, x: Tensor) -> Tensor:
        return (x >= 0.5).to(x.dtype)


class FlattenHWC(nn.Module):
    """(B, C, H, W) -> (B, H W C): the order of networks that were trained with channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class PadShortcut(nn.Module):
    """Every second pixel, with `extra` channels of zeros on both sides. He et al. 2016, arXiv:1512.03385, option A."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))


class Residual(nn.Module):
    """ReLU of main(x) + shortcut(x)."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.main(x) + self.shortcut(x)
        return self.relu(summed)  # type: ignore[no-any-return]


# The order of a conv entry in the file.
def _conv(inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: int) -> nn.Module:  # noqa: PLR0917
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bool(bias))


def _linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


def _residual(main: Json, shortcut: Json) -> nn.Module:
    return Residual(_build(main, "main"), _build(shortcut, "shortcut"))


def _batchnorm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


def _maxpool(size: int) -> nn.Module:
    return nn.MaxPool2d(size)


def _normalize(mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    return Normalize(mean, std)


LAYERS: Mapping[str, Callable[..., nn.Module]] = {
    "conv": _conv,
    "linear": _linear,
    "residual": _residual,
    "normalize": _normalize,
    "binarize": Binarize,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "flatten": nn.Flatten,
    "flatten_hwc": FlattenHWC,
    "batchnorm": _batchnorm,
    "maxpool": _maxpool,
    "avgpool_all": lambda: nn.AdaptiveAvgPool2d(1),
    "pad_shortcut": PadShortcut,
}


def _build(layers: Json, where: str) -> nn.Sequential:
    if not isinstance(layers, list):
        raise ConfigError(f"{where}: layers must be a list, got {type(layers).__name__}")
    return nn.Sequential(*[_layer(layer, f"{where}: layer {number}") for number, layer in enumerate(layers)])


def _layer(layer: Json, where: str) -> nn.Module:
    if not isinstance(layer, list) or not layer or not isinstance(layer[0], str):
        raise ConfigError(f"{where} must be a list that starts with its kind, got {layer!r}")
    kind, *arguments = layer
    if kind not in LAYERS:
        raise ConfigError(f"{where}: no layer {kind!r}; {nearest(kind, list(LAYERS))}Allowed: {', '.join(LAYERS)}")
    builder = LAYERS[kind]
    try:
        return builder(*arguments)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except (TypeError, ValueError, RuntimeError):
        wanted = ", ".join(inspect.signature(builder).parameters)
        raise ConfigError(f"{where}: {kind} takes ({wanted}), got {arguments}") from None


def _check_fit(network: nn.Module, shape: tuple[int, int, int], classes: int, where: str) -> None:
    was_training = network.training
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise ConfigError(f"{where} does not take images of shape {shape}: {error}") from None
    finally:
        network.train(was_training)
    if logits.shape != (1, classes):
        raise ConfigError(f"{where} gives {tuple(logits.shape[1:])} outputs per image, the data has {classes} classes")
