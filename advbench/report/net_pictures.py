"""Class images, dreams and inversions of several nets of one architecture, side by side, from what the run stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.functional import interpolate

from advbench.report.panel import Subject
from advbench.report.pictures import Array, picture
from advbench.report.stored import StoredMatrix
from advbench.store import read_json, read_tensors

_LARGEST = 128  # pixels of a side on the page; larger pictures are shrunk
_BUDGET = 2_000_000  # characters for all groups of a matrix
_LIKE_TEXT = 200  # characters of markup around a picture


@dataclass(frozen=True)
class Spot:
    """One picture; text says what is below it, "" for nothing."""

    uri: str
    alt: str
    text: str


@dataclass(frozen=True)
class PictureRow:
    """The pictures of one net by one method, or why there are none."""

    subject: Subject
    spots: tuple[Spot, ...]
    reason: str


@dataclass(frozen=True)
class Strip:
    """One method with a row for each net."""

    method: str
    said: str
    rows: tuple[PictureRow, ...]


@dataclass(frozen=True)
class NetGroup:
    """Nets of one architecture; samples and classes are the columns."""

    number: int
    subjects: tuple[Subject, ...]
    columns: tuple[str, ...]
    samples: tuple[Spot, ...]
    strips: tuple[Strip, ...]
    tiny: bool

    @property
    def size(self) -> int:
        spots = [*self.samples, *(spot for strip in self.strips for row in strip.rows for spot in row.spots)]
        return sum(len(spot.uri) + _LIKE_TEXT for spot in spots)


@dataclass(frozen=True)
class NetPictures:
    groups: tuple[NetGroup, ...]
    note: str  # what is not shown; "" if nothing


def net_pictures(matrix: StoredMatrix) -> NetPictures:
    """What `pictures:` has stored in the matrix's folder; groups without a readable picture are left out."""
    folder = matrix.folder / "pictures"
    classes = next((cell.classes for cell in matrix.cells), ())
    try:
        index = cast("dict[str, Any]", read_json(folder / "pictures.json"))
        said = {str(name): str(text) for name, text in index["methods"].items()}
        groups = [nets for entries in index["groups"] if len(nets := _planned(matrix, entries)) > 1]
        read = [_group(folder, number, nets, said, classes) for number, nets in enumerate(groups, 1)]
    except FileNotFoundError:
        return NetPictures((), "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return NetPictures((), f"The stored pictures cannot be read: {type(error).__name__}: {error}")
    shown: list[NetGroup] = []
    left = _BUDGET
    for group in (group for group in read if group is not None):
        left -= group.size
        if left < 0 and shown:
            break
        shown.append(group)
    missing = len(read) - len(shown)
    note = f"{missing} of {len(read)} groups of nets are not shown." if missing else ""
    return NetPictures(tuple(shown), note)


def _planned(matrix: StoredMatrix, entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The nets that are in the matrix now; a smaller one may have taken the place of that of the pictures."""
    there = {entry.id.subject for entry in matrix.entries}
    return [entry for entry in entries if (str(entry["model"]), str(entry["defense"])) in there]


def _group(
    folder: Path, number: int, entries: Sequence[Mapping[str, Any]], said: Mapping[str, str], classes: Sequence[str]
) -> NetGroup | None:
    stored = [_tensors(folder / Path(str(entry["file"])).name) for entry in entries]
    first = next((tensors for tensors in stored if tensors), None)
    if first is None:
        return None
    names = [classes[int(kind)] if int(kind) < len(classes) else str(int(kind)) for kind in first["classes"]]
    samples = tuple(
        Spot(_uri(photo), f"sample {int(number)}, class {name}", "")
        for photo, number, name in zip(first["photos"], first["ids"], names, strict=True)
    )
    strips = []
    for method, text in said.items():
        rows = [_row(method, entry, tensors, names) for entry, tensors in zip(entries, stored, strict=True)]
        strips.append(Strip(method, text, tuple(rows)))
    subjects = tuple((str(entry["model"]), str(entry["defense"])) for entry in entries)
    return NetGroup(number, subjects, tuple(names), samples, tuple(strips), first["photos"].shape[-1] < 64)


def _row(method: str, entry: Mapping[str, Any], tensors: Mapping[str, Array], names: Sequence[str]) -> PictureRow:
    subject = str(entry["model"]), str(entry["defense"])
    if method not in tensors:
        return PictureRow(subject, (), str(entry["failed"].get(method, "the file with it is missing or damaged")))
    texts = [f"{100 * float(chance):.0f} %" for chance in tensors[f"{method}_chance"]]
    if f"{method}_likeness" in tensors:
        likeness = tensors[f"{method}_likeness"]
        texts = [f"{text}, r {float(value):.2f}" for text, value in zip(texts, likeness, strict=True)]
    spots = tuple(
        Spot(_uri(image), f"{method} by {subject[0]}, {subject[1]}: class {name}", text)
        for image, text, name in zip(tensors[method], texts, names, strict=True)
    )
    return PictureRow(subject, spots, "")


def _uri(image: Array) -> str:
    side = max(image.shape[1:])
    if side <= _LARGEST:
        return picture(image)
    size = [max(1, round(length * _LARGEST / side)) for length in image.shape[1:]]
    return picture(interpolate(torch.from_numpy(image)[None], size, mode="bilinear", antialias=True)[0].numpy())


def _tensors(file: Path) -> dict[str, Array]:
    """Empty if the file is missing or damaged."""
    try:
        return {name: tensor.numpy() for name, tensor in read_tensors(file).items()}
    except (OSError, ValueError):
        return {}
