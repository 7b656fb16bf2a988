"""The images that `advbench explain` is about: pictures, a folder of them, or samples of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advbench.datasets.class_names import class_names
from advbench.datasets.images import SUFFIXES, read_image
from advbench.datasets.load import load_dataset, read_as
from advbench.datasets.select import select
from advbench.types import ConfigError

SAMPLES, MOST, SIDE = 6, 64, 224


@dataclass(frozen=True)
class Source:
    """What was asked for: exactly one of images, folder and dataset. samples: how many of the latter two.

    classes_of: the dataset whose classes and image shape pictures get, ImageNet's if None. size: of a side, in pixels.
    """

    images: tuple[Path, ...] = ()
    folder: Path | None = None
    dataset: str | None = None
    samples: int | None = None
    classes_of: str | None = None
    size: int | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Shown:
    """x (B, C, H, W) in [0, 1], what each image is called, its label if it has one, and the names of the classes."""

    x: Tensor
    titles: tuple[str, ...]
    labels: tuple[int | None, ...]
    classes: tuple[str, ...]


def explained_images(source: Source) -> Shown:
    """Read them. Raises ConfigError if none or several kinds are given, and for files that are no pictures."""
    if sum((bool(source.images), source.folder is not None, source.dataset is not None)) != 1:
        raise ConfigError("explain needs either --image or --images FOLDER or --dataset")
    if source.dataset is not None:
        if source.classes_of is not None:
            raise ConfigError("--classes-of is for pictures; a --dataset has classes of its own")
        data = load_dataset(source.dataset, size=source.size)
        ids = select(data, source.samples or SAMPLES, source.seed)
        titles = tuple(f"{data.name} {number}" for number in ids.tolist())
        return Shown(data.images(ids), titles, tuple(data.labels[ids].tolist()), data.classes)
    files = source.images if source.folder is None else _files(source.folder, source.samples)
    titles, labels = tuple(file.stem for file in files), (None,) * len(files)
    if source.classes_of is None:
        x = torch.stack([read_image(file, size=source.size or SIDE) for file in files])
        return Shown(x, titles, labels, class_names("imagenet"))
    like = load_dataset(source.classes_of, size=source.size)
    x = torch.stack([read_as(file, source.classes_of, like.shape) for file in files])
    return Shown(x, titles, labels, like.classes)


def _files(folder: Path, samples: int | None) -> tuple[Path, ...]:
    found = sorted(file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES)
    if not found:
        raise ConfigError(f"--images {folder}: no picture in it ({', '.join(SUFFIXES)})")
    if samples is None and len(found) > MOST:
        raise ConfigError(f"--images {folder}: {len(found)} pictures; say how many with --samples (at most {MOST})")
    return tuple(found[:samples])
