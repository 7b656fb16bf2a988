"""Models against attacks: what stands at each place, and whether the attacks go across or down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from advbench.metrics.medians import Median
from advbench.metrics.rates import Rate, wilson
from advbench.metrics.robust import median_distance, rates
from advbench.report.panel import Method, Panel, Subject
from advbench.report.stored import Gap, Skip, StoredCell
from advbench.report.tables import nearest_of

LEVELS = 50  # steps of the colour scale from 0 to 100 %
ACROSS = 8  # attacks and controls that fit side by side in a window of 1280 pixels


@dataclass(frozen=True)
class Place:
    """One place of a heat map: a rate with its colour level, a distance, or the word that stands for its absence."""

    rate: Rate | None = None
    level: int = -1
    distance: Median | None = None
    found: Rate | None = None  # beside a distance: share of the samples with an error at some distance
    word: str = ""  # failed | damaged | not run | skipped | none
    reason: str = ""
    link: str = ""  # first 8 digits of the cell's key

    @property
    def n(self) -> int | None:
        """How many samples it speaks about; None if it has no result."""
        number = self.rate or self.distance
        return None if number is None else number.n


@dataclass(frozen=True)
class Column:
    """What one attack or control did to each subject. size: its n in words where that is not the map's."""

    method: Method
    size: str
    places: list[Place]


@dataclass(frozen=True)
class HeatMap:
    """One threat at one radius; `subjects` in order, and a place for each of them in `worst` and in every column."""

    eps: str
    headline: bool
    n: int  # samples of the largest cell; 0 if none has finished
    subjects: list[Subject]
    worst: list[Place]
    attacks: list[Column]
    controls: list[Column]

    @property
    def partial(self) -> bool:
        """Is there an attack that does not apply to all samples?"""
        return any(column.size for column in (*self.attacks, *self.controls))


def are_tall(panels: Sequence[Panel]) -> bool:
    """Do the attacks of a matrix stand below each other? So they do where some threat has too many to go across."""
    counts = [(len(p.methods("attack")) + len(p.methods("control")), len(p.subjects)) for p in panels]
    return any(methods > ACROSS and methods > subjects for methods, subjects in counts)


def heat_maps(panel: Panel, order: Sequence[Subject]) -> list[HeatMap]:
    """One map per radius, the headline first; subjects in the order given. Without a grid, one of median distances."""
    grid = list(zip(panel.grid, map(str, panel.radii), strict=True)) or [(math.inf, "any distance")]
    return [_map(panel, [s for s in order if s in panel.subjects], eps, text) for eps, text in reversed(grid)]


def _map(panel: Panel, subjects: list[Subject], eps: float, text: str) -> HeatMap:
    worst = [_worst_place(panel, subject, eps) for subject in subjects]
    attacks, controls = (
        [(method, [_place(panel, subject, method, eps) for subject in subjects]) for method in panel.methods(kind)]
        for kind in ("attack", "control")
    )
    every = [*worst, *(place for _, places in (*attacks, *controls) for place in places)]
    n = max((place.n or 0 for place in every), default=0)
    left, right = (
        [Column(method, _size(places, n), places) for method, places in group] for group in (attacks, controls)
    )
    return HeatMap(text, eps == panel.headline, n, subjects, worst, left, right)


def _size(places: Sequence[Place], n: int) -> str:
    """ "n = 36" or "n = 30 to 36" if an attack does not apply to all n samples, else ""."""
    sizes = sorted({place.n for place in places if place.n is not None})
    if not sizes or sizes == [n]:
        return ""
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"


def _place(panel: Panel, subject: Subject, method: Method, eps: float) -> Place:
    match panel.at(subject, method):
        case StoredCell() as cell:
            if not panel.grid:
                found = _found(panel.held[cell.id.key])
                return Place(distance=median_distance(cell.rows, panel.norm), found=found, link=cell.id.short)
            rate = panel.curves[cell.id.key][eps]
            return Place(rate, level(rate.value), link=cell.id.short)
        case Gap() as gap:
            return Place(word=gap.status, reason=gap.reason, link=gap.id.short)
        case Skip() as skip:
            return Place(word="skipped", reason=skip.reason)
    return Place(word="none", reason="not part of the matrix")


def _worst_place(panel: Panel, subject: Subject, eps: float) -> Place:
    if subject not in panel.worst:
        return Place(word="no result", reason="no attack has finished")
    done, planned = panel.coverage(subject)
    reason = "" if done == planned else f"over {done} of {planned} attacks"
    if not panel.grid:
        return Place(distance=nearest_of(panel, subject), found=_found(panel.worst[subject]), reason=reason)
    rate = rates(panel.worst[subject])[eps]
    return Place(rate, level(rate.value), reason=reason)


def _found(held: pd.DataFrame) -> Rate:
    return wilson(int((~held[math.inf]).sum()), len(held))


def level(value: float) -> int:
    """The colour step of a rate, 0 to LEVELS; -1, which has no colour, where there is none."""
    return -1 if math.isnan(value) else round(LEVELS * value)
