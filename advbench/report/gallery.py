"""Galleries from the stored samples of each cell, within a budget of bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from advbench.diagnostics.likeness import likeness
from advbench.report.pictures import Array, difference, map_pair, picture
from advbench.report.stored import Identity, StoredCell, left_out
from advbench.store import UnreadableError, read_tensors

GROUPS = ("easiest fooled", "median fooled", "hardest fooled", "held, closest call")
RULE = (
    "Samples are chosen by a rule on the stored rows at the largest eps, not by hand: of the fooled ones the three "
    "with the smallest, median and largest clean margin, and the three that held with the smallest margin after the "
    "attack; ties go to the smaller sample number."
)
FIXED = ("sample_id", "group", "x", "x_adv", "probabilities_clean", "probabilities_adv", "trajectory")


@dataclass(frozen=True)
class Guess:
    """A class by name and the model's probability for it."""

    name: str
    probability: float


@dataclass(frozen=True)
class Alike:
    """How alike the two maps of a pair are: the numbers of `diagnostics.likeness`, nan if one of the maps is blank."""

    overlap: float
    correlation: float
    structure: float
    shift: float  # pixels

    @property
    def blank(self) -> bool:
        """Has one of the maps no structure, so that there is nothing to compare?"""
        return math.isnan(self.overlap)


@dataclass(frozen=True)
class Exhibit:
    """One sample before and after an attack, ready to be shown."""

    group: str
    sample_id: int
    label: str
    target: str  # "" if untargeted
    before: Guess
    after: Guess
    norms: tuple[tuple[str, float], ...]
    x: str
    x_adv: str
    difference: str
    maps: tuple[tuple[str, str], ...]  # per attribution: before and after, on one scale
    alike: tuple[Alike, ...]  # per attribution

    @property
    def size(self) -> int:
        """Characters that it takes on the page: images, and about 200 of markup around each."""
        images = (self.x, self.x_adv, self.difference, *(uri for pair in self.maps for uri in pair))
        return sum(len(image) + 200 for image in images)


@dataclass(frozen=True)
class Gallery:
    id: Identity
    attributions: tuple[str, ...]
    tiny: bool  # small images are enlarged without smoothing
    exhibits: tuple[Exhibit, ...]

    @property
    def groups(self) -> list[tuple[str, list[Exhibit]]]:
        """Exhibits by group, in the order of GROUPS; groups without one are left out."""
        by_group = [(group, [e for e in self.exhibits if e.group == group]) for group in GROUPS]
        return [(group, members) for group, members in by_group if members]


@dataclass(frozen=True)
class Galleries:
    shown: tuple[Gallery, ...]
    note: str  # what was left out, to keep the page small or because it is damaged; "" if nothing


def galleries(cells: Sequence[StoredCell], budget: int) -> Galleries:
    """Galleries of the attack cells that have one, thinned until their images take at most `budget` characters."""
    stored = [cell for cell in _fair_order(cells) if (cell.folder / "gallery.safetensors").is_file()]
    notes = []
    chosen, damaged = _within(stored, 3, budget)
    if len(chosen) + len(damaged) < len(stored):
        notes.append("One sample per group is shown instead of three, to keep this page small.")
        chosen, damaged = _within(stored, 1, budget)
        if more := len(stored) - len(chosen) - len(damaged):
            notes.append(f"{more} of {len(stored)} cells with stored samples are not shown.")
    notes.append(left_out("samples", damaged))
    return Galleries(_in_order(chosen, cells), " ".join(filter(None, notes)))


def _within(cells: Sequence[StoredCell], per_group: int, budget: int) -> tuple[list[Gallery], list[Identity]]:
    """The first galleries, as many as the budget holds, and the cells among them whose samples cannot be read."""
    chosen: list[Gallery] = []
    damaged: list[Identity] = []
    for cell in cells:
        try:
            gallery = _gallery(cell, per_group)
        except UnreadableError:
            damaged.append(cell.id)
            continue
        budget -= sum(exhibit.size for exhibit in gallery.exhibits)
        if budget < 0:
            break
        chosen.append(gallery)
    return chosen, damaged


def _fair_order(cells: Sequence[StoredCell]) -> list[StoredCell]:
    """Attack cells so that each model has its first before any has its second."""
    turn: dict[tuple[str, str], int] = {}
    ranked = []
    for cell in (c for c in cells if c.id.kind == "attack"):
        turn[cell.id.subject] = turn.get(cell.id.subject, -1) + 1
        ranked.append((turn[cell.id.subject], cell))
    return [cell for _, cell in sorted(ranked, key=lambda pair: pair[0])]


def _in_order(chosen: Sequence[Gallery], cells: Sequence[StoredCell]) -> tuple[Gallery, ...]:
    place = {cell.id.key: i for i, cell in enumerate(cells)}
    return tuple(sorted((g for g in chosen if g.exhibits), key=lambda gallery: place[gallery.id.key]))


def _gallery(cell: StoredCell, per_group: int) -> Gallery:
    tensors = _arrays(cell)
    names = tuple(name.removesuffix("_clean") for name in tensors if name.endswith("_clean") and name not in FIXED)
    labels, targets = _last(cell, "label"), _last(cell, "target")
    seen: dict[int, int] = {}
    exhibits = []
    for i, group in enumerate(map(int, tensors["group"])):
        seen[group] = seen.get(group, 0) + 1
        if seen[group] <= per_group:
            sample = int(tensors["sample_id"][i])
            truth = (labels[sample], targets[sample])
            exhibits.append(_exhibit(tensors, i, names, cell.classes, truth))
    return Gallery(cell.id, names, tensors["x"].shape[-1] < 64, tuple(exhibits))


def _exhibit(
    tensors: Mapping[str, Array], i: int, names: Sequence[str], classes: Sequence[str], truth: tuple[int, int]
) -> Exhibit:
    x, x_adv = tensors["x"][i], tensors["x_adv"][i]
    delta = (x_adv - x).astype(np.float64).ravel()
    label, target = truth
    return Exhibit(
        group=GROUPS[int(tensors["group"][i])],
        sample_id=int(tensors["sample_id"][i]),
        label=_name(classes, label),
        target="" if target < 0 else _name(classes, target),
        before=_guess(tensors["probabilities_clean"][i], classes),
        after=_guess(tensors["probabilities_adv"][i], classes),
        norms=(
            ("l2", float(np.linalg.norm(delta))),
            ("linf", float(np.abs(delta).max())),
            ("changed", float(np.count_nonzero(delta)) / delta.size),
        ),
        x=picture(x),
        x_adv=picture(x_adv),
        difference=difference(x, x_adv),
        maps=tuple(map_pair(tensors[f"{name}_clean"][i], tensors[f"{name}_adv"][i]) for name in names),
        alike=tuple(_alike(tensors[f"{name}_clean"][i], tensors[f"{name}_adv"][i]) for name in names),
    )


def _alike(clean: Array, adversarial: Array) -> Alike:
    found = likeness(*(torch.from_numpy(np.nan_to_num(heat))[None] for heat in (clean, adversarial)))
    return Alike(*(float(value) for value in (found.overlap, found.correlation, found.structure, found.shift)))


def _last(cell: StoredCell, column: str) -> dict[int, int]:
    """A column of whole numbers by sample, as of the largest eps."""
    rows = cell.rows.sort_values("eps", kind="stable").drop_duplicates("sample_id", keep="last")
    return dict(zip(rows["sample_id"].tolist(), rows[column].tolist(), strict=True))


def _arrays(cell: StoredCell) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in sorted(read_tensors(cell.folder / "gallery.safetensors").items())}


def _guess(probabilities: Array, classes: Sequence[str]) -> Guess:
    best = int(probabilities.argmax())
    return Guess(_name(classes, best), float(probabilities[best]))


def _name(classes: Sequence[str], index: int) -> str:
    return classes[index] if 0 <= index < len(classes) else str(index)
