"""Your own image files: a folder per class, or one folder with labels.csv. Read one by one when asked for."""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.datasets.class_names import class_names, numbered
from advbench.datasets.dataset import SPLITS, Dataset
from advbench.datasets.images import SUFFIXES, read_image
from advbench.registry import dataset
from advbench.types import ConfigError

log = logging.getLogger(__name__)


class Listing(NamedTuple):
    """Image files in a fixed order, each with its label; class names; how the classes were ordered."""

    files: list[Path]
    labels: list[int]
    classes: tuple[str, ...]
    order: str


@dataset(source="folder")
def folder(split: str, *, root: Path, download: bool, path: str, labels_of: str = "", size: int = 224) -> Dataset:
    """PATH/<split> if there is such a folder, else PATH; images become (3, size, size) as `images.fit` makes them.

    PATH stands for train, val and test where there are no such folders.
    With labels.csv (columns `file`, `label`): its rows in order. Else a sub-folder per class, sorted as strings like
    torchvision (1, 10, 2: not as numbers); `classes.txt` with a name per line says another order. labels_of: the
    dataset whose class names apply to labels.csv (`folder:photos#imagenet`). First and last class are logged.
    Raises ConfigError if there are no images, a class is empty, or labels.csv is unsound.
    """
    place = _place(Path(path).expanduser(), split)
    listing = _from_table(place, labels_of) if (place / "labels.csv").is_file() else list_classes(place)
    return from_listing(f"folder:{place.name}-{_digest(place, listing)}", split, listing, size)


def from_listing(name: str, split: str, listing: Listing, size: int) -> Dataset:
    """A Dataset that reads its files on demand. Raises ConfigError if size < 1."""
    if size < 1:
        raise ConfigError(f"{name}: size must be at least 1 pixel, got {size}")
    crop = f"short side {round(size / 0.875)}, centre {size} x {size}"
    note = f"{crop}; classes {listing.order}: first {listing.classes[0]!r}, last {listing.classes[-1]!r}"
    log.info("%s %s: %d images, %s", name, split, len(listing.files), note)
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    return Dataset(name, split, labels, listing.classes, (3, size, size), partial(_read, listing.files, size), note)


def list_classes(place: Path) -> Listing:
    """The images of a folder per class, classes in the order of classes.txt or of their names as strings."""
    found = sorted(entry.name for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise ConfigError(f"{place}: empty, neither labels.csv nor a sub-folder per class")
    classes, order = _class_order(place, found)
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = sorted(file for file in (place / name).rglob("*") if file.suffix.lower() in SUFFIXES)
        if not images:
            raise ConfigError(f"{place / name}: no images in this class; looked for {', '.join(SUFFIXES)}")
        files += images
        labels += [label] * len(images)
    return Listing(files, labels, classes, order)


def _place(path: Path, split: str) -> Path:
    if not path.is_dir():
        raise ConfigError(f"folder:{path}: there is no such folder")
    if (path / split).is_dir():
        return path / split
    if split not in SPLITS:
        raise ConfigError(
            f"folder:{path}: has no folder {split!r}; without one it stands for {', '.join(SPLITS)}, got {split!r}"
        )
    return path


def _class_order(place: Path, found: list[str]) -> tuple[tuple[str, ...], str]:
    listed = place / "classes.txt"
    if listed.is_file():
        names = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        if sorted(names) != found:
            odd = sorted(set(names) ^ set(found)) or names
            raise ConfigError(f"{listed}: must name each sub-folder once; check {', '.join(odd[:5])}")
        return tuple(names), "in the order of classes.txt"
    if found != sorted(found, key=_natural):
        log.warning("%s: classes are in string order (%s, ...), not natural order", place, ", ".join(found[:3]))
    return tuple(found), "in string order"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _from_table(place: Path, labels_of: str) -> Listing:
    table = place / "labels.csv"
    try:
        with table.open(newline="", encoding="utf-8") as content:
            rows = list(csv.DictReader(content))
        names = [str(row["file"]) for row in rows]
        labels = [int(row["label"]) for row in rows]
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise ConfigError(f"{table}: needs the columns file and label, labels as whole numbers ({error})") from None
    files = [_inside(place, name) for name in names]
    if not files:
        raise ConfigError(f"{table}: lists no images")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ConfigError(f"{table}: lists {missing[0]!r}, which is not there ({len(missing)} such files)")
    classes = class_names(labels_of) if labels_of else numbered(max(0, *labels) + 1)
    if min(labels) < 0 or max(labels) >= len(classes):
        raise ConfigError(f"{table}: labels must be in 0..{len(classes) - 1}, got {min(labels)}..{max(labels)}")
    return Listing(files, labels, classes, f"of {labels_of}" if labels_of else "numbered")


def _inside(place: Path, name: str) -> Path:
    file = place / name
    if not file.resolve().is_relative_to(place.resolve()):
        raise ConfigError(f"{place / 'labels.csv'}: {name!r} lies outside the folder")
    return file


def _digest(place: Path, listing: Listing) -> str:
    """8 hex digits over names, sizes and labels: quick, and enough to tell one collection from another.

    What is not compressed keeps its size when its pixels change: of that the content counts.
    """
    digest = hashlib.sha256()
    for file, label in zip(listing.files, listing.labels, strict=True):
        digest.update(f"{file.relative_to(place).as_posix()} {file.stat().st_size} {label}\n".encode())
        if file.suffix.lower() == ".bmp":
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _read(files: list[Path], size: int, ids: Tensor) -> Tensor:
    return torch.stack([read_image(files[int(i)], size=size) for i in ids])
