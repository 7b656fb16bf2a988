"""Pictures with two labels, the class of their shape and that of their texture, from a folder."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from advbench.datasets.images import read_image
from advbench.names import nearest
from advbench.types import ConfigError


@dataclass(frozen=True, eq=False)
class Stimuli:
    """images (N, C, size, size) in [0, 1]; shape, texture (N,) int64, indices into `names`; the files' names."""

    images: Tensor
    shape: Tensor
    texture: Tensor
    names: tuple[str, ...]
    files: tuple[str, ...]


def read_stimuli(
    folder: Path, *, size: int = 224, names: tuple[str, ...] = (), channels: int = 3, cropped: bool = True
) -> Stimuli:
    """The pictures that folder/labels.csv lists in columns file, shape and texture.

    names: the classes in order; if empty, those that occur, sorted. channels: 1 takes the mean. cropped: pictures of
    another size lose their border, as ImageNet's do in `datasets.images.fit`; False shrinks them whole. Raises
    ConfigError for a missing file or column, a class that is not among `names`, and what `read_image` refuses.
    """
    rows = _read_labels(folder / "labels.csv")
    known = names or tuple(sorted({row[key] for row in rows for key in ("shape", "texture")}))
    place = {name: i for i, name in enumerate(known)}
    for number, row in enumerate(rows, 2):
        for key in ("shape", "texture"):
            if row[key] not in place:
                hint = nearest(row[key], list(known))
                raise ConfigError(
                    f"{folder / 'labels.csv'}:{number}: no class {row[key]!r}; {hint}all: {', '.join(known)}"
                )
    return Stimuli(
        images=torch.stack([_image(folder / row["file"], size, channels, cropped=cropped) for row in rows]),
        shape=torch.tensor([place[row["shape"]] for row in rows]),
        texture=torch.tensor([place[row["texture"]] for row in rows]),
        names=known,
        files=tuple(row["file"] for row in rows),
    )


def read_groups(file: Path) -> dict[str, list[int]]:
    """{coarse class: indices of the model's classes} from a JSON file. Raises ConfigError on anything else."""
    try:
        groups = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as JSON: {error}") from None
    fits = isinstance(groups, dict) and all(
        isinstance(group, list) and group and all(isinstance(index, int) for index in group)
        for group in groups.values()
    )
    if not fits:
        raise ConfigError(f"{file} must hold an object of class names with lists of class indices")
    return dict(groups)


def _image(file: Path, size: int, channels: int, *, cropped: bool) -> Tensor:
    picture = read_image(file, size=size if cropped else None)
    if picture.shape[1:] != (size, size):
        picture = interpolate(picture[None], (size, size), mode="bilinear", antialias=True)[0].clamp(0.0, 1.0)
    return picture.mean(0, keepdim=True) if channels == 1 else picture


def _read_labels(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        raise ConfigError(f"{file}: there is no such file; it must list the pictures in columns file, shape, texture")
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        missing = {"file", "shape", "texture"} - set(reader.fieldnames or ())
        if missing:
            raise ConfigError(f"{file} has no column {sorted(missing)[0]!r}; it needs file, shape, texture")
        rows = list(reader)
    if not rows:
        raise ConfigError(f"{file} lists no picture")
    return rows
