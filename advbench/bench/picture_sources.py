"""Files and names of the command line as what a picture is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from advbench.bench.asked_scores import numbered_classes
from advbench.bench.picturing import Materials
from advbench.datasets.class_names import class_names
from advbench.datasets.images import SUFFIXES, read_image
from advbench.datasets.load import load_dataset
from advbench.models.load import comes_trained, load_model
from advbench.store import read_tensors
from advbench.synthesis.feed_forward.adaptive import decoder_of
from advbench.synthesis.feed_forward.networks import network_of
from advbench.types import ConfigError, Json

LONGEST = 512  # pixels of a picture's longer side, if nobody says another size
_IMAGENET = (3, 224, 224)


@dataclass(frozen=True)
class Source:
    """What was named; size: (H, W) or None. dataset: the data whose classes and image shape the model has.

    only_made: the size is that of the picture to be made; those given stay as large as they are.
    """

    model: str | None = None
    weights: Path | None = None
    dataset: str | None = None
    allow_code: bool = False
    pictures: tuple[Path, ...] = ()
    styles: tuple[Path, ...] = ()
    guide: Path | None = None
    folder: Path | None = None
    network: Path | None = None
    target: str | None = None
    size: tuple[int, int] | None = None
    model_params: Mapping[str, Json] = field(default_factory=dict)
    only_made: bool = False


def materials_of(source: Source, device: torch.device) -> Materials:
    """Read and load what the source names. Raises ConfigError for what cannot be read, and for untrained networks."""
    shape, classes = _IMAGENET, class_names("imagenet")
    if source.dataset is not None:
        data = load_dataset(source.dataset)
        shape, classes = data.shape, data.classes
    channels = shape[0]
    model = None
    if source.model is not None:
        if not comes_trained(source.model, weights=source.weights, params=source.model_params):
            raise ConfigError(f"{source.model} has no weights: an untrained net has seen nothing; give --weights")
        model = load_model(
            source.model,
            shape=shape,
            classes=len(classes),
            weights=source.weights,
            allow_code=source.allow_code,
            params=source.model_params,
        ).to(device)
    elif source.model_params:
        raise ConfigError("--model-param is a parameter of --model, which is not given")
    wanted = (channels, *source.size) if source.size else None
    pictured = None if source.only_made else source.size
    return Materials(
        model=model,
        image=read_pictures(source.pictures, channels, pictured).to(device) if source.pictures else None,
        styles=tuple(read_pictures((file,), channels).to(device) for file in source.styles),
        guide=read_pictures((source.guide,), channels).to(device) if source.guide else None,
        images=read_pictures(pictures_in(source.folder), channels, _crop(source, shape)).to(device)
        if source.folder
        else None,
        network=None if source.network is None else read_network(source.network).to(device),
        target=None if source.target is None else numbered_classes(source.target, classes),
        classes=classes,
        shape=wanted or (shape if source.dataset is not None and not source.only_made else None),
    )


def read_pictures(files: tuple[Path, ...], channels: int = 3, size: tuple[int, int] | None = None) -> Tensor:
    """(B, C, H, W): the pictures, all as large as `size` or else as the first; its longer side is at most LONGEST."""
    found: list[Tensor] = []
    for file in files:
        picture = read_image(file)[None]
        height, width = picture.shape[2:]
        if size is None:
            share = min(1.0, LONGEST / max(height, width))
            size = (round(height * share), round(width * share))
        if (height, width) != size:
            picture = interpolate(picture, size, mode="bilinear", antialias=True).clamp(0.0, 1.0)
        found.append(picture.mean(1, keepdim=True) if channels == 1 else picture)
    return torch.cat(found)


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The pictures in a folder, by name. Raises ConfigError if there are none."""
    found = tuple(sorted(file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES))
    if not found:
        raise ConfigError(f"--images {folder}: no picture in it ({', '.join(SUFFIXES)})")
    return found


def read_network(file: Path) -> nn.Module:
    """The style network or decoder in a file of `train-style`. Raises ConfigError for something else."""
    if not file.is_file():
        raise ConfigError(f"--network {file}: there is no such file")
    try:
        state = read_tensors(file)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return decoder_of(state) if "convs.0.weight" in state else network_of(state)


def read_size(text: str | None) -> tuple[int, int] | None:
    """ "256" or "256x384" as (H, W). Raises ConfigError for other text and for less than 8 pixels."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if found is None or min(int(side) for side in found.groups(found[1])) < 8:
        raise ConfigError(f"--size must be a side or HxW of at least 8 pixels, got {text!r}")
    return int(found[1]), int(found[2] or found[1])


def _crop(source: Source, shape: tuple[int, int, int]) -> tuple[int, int]:
    return source.size or (shape[1], shape[2])
