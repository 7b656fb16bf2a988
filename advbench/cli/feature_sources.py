"""What `advbench features` was asked for, and the model and images it names."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from advbench.datasets.class_names import class_names
from advbench.datasets.images import SUFFIXES, read_image
from advbench.datasets.load import load_dataset
from advbench.datasets.select import select
from advbench.features.activations import Images
from advbench.features.layers import resolve_layer
from advbench.models.load import comes_trained, load_model
from advbench.types import ConfigError, Json

_MOST = 1000  # images, unless --samples says otherwise
_HELD_BYTES = 2**28  # of images kept, so that a view that looks twice reads them once


@dataclass(frozen=True)
class Request:
    """The options of the command, checked one by one."""

    models: tuple[str, ...]
    weights: tuple[Path, ...]
    dataset: str | None
    images: Path | None
    samples: int | None
    size: int | None
    layers: tuple[str, ...]
    channels: tuple[int, ...]
    count: int | None
    queries: tuple[int, ...]
    metric: str
    scale: str | None
    pixel_space: bool
    perplexity: float
    epochs: int
    seed: int
    allow_code: bool
    optimised: bool
    projected: bool
    attack: str | None
    norm: str
    eps: str | None
    params: Mapping[str, Json]
    out: Path

    @property
    def called(self) -> str:
        """The model's name in a figure."""
        return called(self.model)

    @property
    def model(self) -> str:
        """The only model. Raises ConfigError if there are several."""
        if len(self.models) != 1:
            raise ConfigError("only `features compare` looks at several models")
        return self.models[0]


def called(spec: str) -> str:
    """A model as a figure names it: the entry of a file of networks, else what stands behind the colon."""
    head, _, entry = spec.rpartition("#")
    return entry if head else spec.partition(":")[2] or spec


@dataclass(frozen=True, eq=False)
class Pictures:
    """N images by id 0 .. N - 1: read(ids (B,)) gives (B, C, H, W). labels (N,) and names (K,) if they are known."""

    name: str
    read: Images
    ids: Tensor
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    labels: Tensor | None

    def title_of(self, position: int) -> str:
        """What an image is called: its class, else its number."""
        return f"#{position}" if self.labels is None else f"#{position} {self.classes[int(self.labels[position])]}"


def pictures(request: Request) -> Pictures:
    """The images that the request names. Raises ConfigError if it names none or they cannot be read."""
    if request.images is not None:
        return _of_folder(request.images, request)
    if request.dataset is None:
        raise ConfigError("images are needed: give --dataset or --images")
    data = load_dataset(request.dataset, size=request.size)
    chosen = select(data, request.samples or min(len(data), _MOST), request.seed)
    return Pictures(
        data.name,
        _held(lambda ids: data.images(chosen[ids]), data.shape),
        torch.arange(len(chosen)),
        data.shape,
        data.classes,
        data.labels[chosen],
    )


def sizes(request: Request) -> tuple[tuple[int, int, int], int]:
    """(C, H, W) and the number of classes the model is built for, where no image is looked at."""
    if request.dataset is not None:
        data = load_dataset(request.dataset, size=request.size)
        return data.shape, len(data.classes)
    side = request.size or 224
    return (3, side, side), len(class_names("imagenet"))


def trained_model(
    request: Request, shape: tuple[int, int, int], classes: int, *, which: int = 0, untrained: bool = False
) -> nn.Module:
    """The model at place `which` of the request. Raises ConfigError if it has no weights, unless `untrained`."""
    spec = request.models[which]
    if request.weights and len(request.weights) != len(request.models):
        raise ConfigError(f"--weights must be given once per model: {len(request.models)} times or not at all")
    file = request.weights[which] if request.weights else None
    if not untrained and not comes_trained(spec, weights=file):
        raise ConfigError(f"{spec} has no weights: an untrained net has learned nothing; train one and give --weights")
    return load_model(
        spec, shape=shape, classes=classes, weights=file, seed=request.seed, allow_code=request.allow_code
    )


def both(request: Request) -> tuple[Pictures, nn.Module]:
    """The images of the request and its only model, trained."""
    source = pictures(request)
    if beyond := [query for query in request.queries if query >= len(source.ids)]:
        raise ConfigError(f"--queries {beyond[0]}: the images are 0 .. {len(source.ids) - 1}")
    _ = request.model
    return source, trained_model(request, source.shape, len(source.classes))


def chosen_layer(request: Request, model: nn.Module, default: Callable[[nn.Module], str]) -> str:
    """The layer that the request names, else the one that `default` finds. Raises ConfigError if it names several."""
    if len(request.layers) > 1:
        raise ConfigError("one --layer at a time; only `features evolution` follows several")
    return resolve_layer(model, request.layers[0]) if request.layers else default(model)


def shown() -> bool:
    """Is somebody looking, so that a bar of progress makes sense?"""
    return sys.stderr.isatty()


def _held(read: Images, shape: tuple[int, int, int]) -> Images:
    """The same images; as many as there is room for are read once only."""
    kept: dict[int, Tensor] = {}
    room = _HELD_BYTES // (4 * math.prod(shape))

    def images(ids: Tensor) -> Tensor:
        new = [i for i in dict.fromkeys(ids.tolist()) if i not in kept]
        fresh = dict(zip(new, read(torch.tensor(new)), strict=True)) if new else {}
        for i, image in fresh.items():
            if len(kept) < room:
                kept[i] = image
        return torch.stack([fresh[i] if i in fresh else kept[i] for i in ids.tolist()])

    return images


def _of_folder(folder: Path, request: Request) -> Pictures:
    if not folder.is_dir():
        raise ConfigError(f"--images {folder}: there is no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ConfigError(f"--images {folder}: no pictures in it; looked for {', '.join(SUFFIXES)}")
    files, side = files[: request.samples or _MOST], request.size or 224

    def read(ids: Tensor) -> Tensor:
        return torch.stack([read_image(files[int(i)], size=side) for i in ids])

    return Pictures(
        folder.name,
        _held(read, (3, side, side)),
        torch.arange(len(files)),
        (3, side, side),
        class_names("imagenet"),
        None,
    )
