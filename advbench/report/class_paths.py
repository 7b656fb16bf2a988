"""The class that a model predicts at each pass of an attack, as stretches of passes: a bar and words per sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from advbench.report.figures import data_uri
from advbench.report.stored import Identity, StoredCell
from advbench.store import UnreadableError, read_tensors

LIMIT = 12  # samples of a cell
TOLD = 6  # changes of class that are told in words; the bar shows them all
WIDE = 800  # places of a bar: more could not be seen
RIGHT, WRONG = "#b4bec9", ("#d9694f", "#9c3a26")  # wrong classes in turn, so that a change between two shows
HEIGHT = 12


@dataclass(frozen=True)
class Stretch:
    """Passes `first` .. `last`, counted from 0, at which the model predicts the class `name`."""

    name: str
    wrong: bool
    first: int
    last: int


@dataclass(frozen=True)
class ClassPath:
    """One sample under one attack. passes: how many there are; longest: of the samples of its cell."""

    id: Identity
    sample_id: int
    label: str
    stretches: tuple[Stretch, ...]
    passes: int
    longest: int

    @property
    def told(self) -> tuple[Stretch, ...]:
        """The stretches that are told in words."""
        return self.stretches[: TOLD + 1]

    @property
    def untold(self) -> int:
        """How many more changes of class there are."""
        return len(self.stretches) - len(self.told)

    @property
    def bar(self) -> str:
        """The stretches from left to right as a data URI; the width stands for `longest` passes."""
        parts, drawn, turn = [], 0, 0
        for stretch in self.stretches:
            turn += stretch.wrong
            right = round(WIDE * (stretch.last + 1) / max(1, self.longest))
            if right > drawn:
                colour = WRONG[turn % 2] if stretch.wrong else RIGHT
                parts.append(f'<path d="M{drawn} 0H{right}V{HEIGHT}H{drawn}z" fill="{colour}"/>')
            drawn = max(drawn, right)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE}" height="{HEIGHT}" viewBox="0 0 {WIDE} {HEIGHT}" '
        )
        return data_uri(f'{head}preserveAspectRatio="none">{"".join(parts)}</svg>'.encode(), "svg+xml")


def class_paths(cells: Sequence[StoredCell], attack: str = "loss_ascent") -> list[ClassPath]:
    """The paths of the gallery samples of the cells of `attack`; at most LIMIT per cell.

    Cells whose samples cannot be read are left out; the gallery says so.
    """
    wanted = [c for c in cells if c.attack == attack and (c.folder / "gallery.safetensors").is_file()]
    return [path for cell in wanted for path in _paths(cell)]


def stretches(classes: Sequence[int], names: Sequence[str], label: int) -> tuple[Stretch, ...]:
    """Equal neighbours of `classes`, the number of the class at each pass, put together. label: the right class."""
    found, first = [], 0
    for number, group in groupby(classes):
        last = first + sum(1 for _ in group) - 1
        name = names[number] if 0 <= number < len(names) else str(number)
        found.append(Stretch(name, number != label, first, last))
        first = last + 1
    return tuple(found)


def _paths(cell: StoredCell) -> Iterator[ClassPath]:
    try:
        tensors = read_tensors(cell.folder / "gallery.safetensors")
    except UnreadableError:
        return
    if "trajectory" not in tensors:
        return
    rows = cell.rows.drop_duplicates("sample_id").set_index("sample_id")["label"]
    ids = tensors["sample_id"].tolist()[:LIMIT]
    walked = [[step for step in path if step >= 0] for path in tensors["trajectory"].tolist()[:LIMIT]]
    longest = max(map(len, walked), default=0)
    for sample_id, path in zip(ids, walked, strict=True):
        label = int(rows[sample_id])
        name = cell.classes[label] if 0 <= label < len(cell.classes) else str(label)
        yield ClassPath(cell.id, sample_id, name, stretches(path, cell.classes, label), len(path), longest)
