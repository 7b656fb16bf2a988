"""Tables of one matrix: leaderboard, heat maps, every radius, classes, controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from advbench.metrics.rates import Rate, wilson
from advbench.metrics.robust import broken, clean_accuracy, median_distance, nearest_error, rates
from advbench.report.panel import Method, Panel, Subject
from advbench.report.stored import Gap, Skip, StoredCell
from advbench.types import norm_name

LEVELS = 50  # steps of the colour scale from 0 to 100 %


@dataclass(frozen=True)
class Score:
    """A subject under one threat: a rate at the headline radius, or a median distance where there is no grid."""

    rate: Rate | None = None
    distance: float = math.nan
    missing: int = 0  # planned attacks without a result: the score can then only fall


@dataclass(frozen=True)
class Leader:
    subject: Subject
    clean: Rate | None
    scores: tuple[Score, ...]  # one per panel
    done: int
    planned: int


def leaderboard(panels: Sequence[Panel]) -> list[Leader]:
    """Models by robust accuracy at the first threat's headline radius, then the next threat's, then clean accuracy."""
    subjects = dict.fromkeys(subject for panel in panels for subject in panel.subjects)
    rows = []
    for subject in subjects:
        scores = tuple(_score(panel, subject) for panel in panels)
        every = {e.id.key: e for panel in panels for e in panel.entries if e.id.subject == subject}.values()
        planned = [entry for entry in every if entry.id.kind == "attack"]
        done = sum(isinstance(entry, StoredCell) for entry in planned)
        rows.append(Leader(subject, clean_of(panels, subject), scores, done, len(planned)))
    return sorted(rows, key=_strength, reverse=True)


def clean_of(panels: Sequence[Panel], subject: Subject) -> Rate | None:
    """Clean accuracy, from any finished cell of the subject; all cells of a matrix share their samples."""
    cells = [cell for panel in panels for cell in panel.cells if cell.id.subject == subject]
    return clean_accuracy(cells[0].rows) if cells else None


def _score(panel: Panel, subject: Subject) -> Score:
    done, planned = panel.coverage(subject)
    if not done:
        return Score(missing=planned)
    if panel.grid:
        return Score(_headline(panel, subject), missing=planned - done)
    return Score(None, _nearest(panel, subject), planned - done)


def _nearest(panel: Panel, subject: Subject) -> float:
    """Median over samples of the distance to the nearest error that any attack found."""
    nearest = [nearest_error(cell.rows, panel.norm) for cell in panel.of(subject, "attack")]
    return float(pd.concat(nearest, axis=1).min(axis=1).median())


def _headline(panel: Panel, subject: Subject) -> Rate:
    return rates(panel.worst[subject])[panel.headline]


def _strength(row: Leader) -> tuple[float, ...]:
    scores = [score.rate.value if score.rate else score.distance for score in row.scores]
    clean = row.clean.value if row.clean else math.nan
    return tuple(-1.0 if math.isnan(value) else value for value in (*scores, clean))


@dataclass(frozen=True)
class Place:
    """One place of a heat map: a rate with its colour level, a distance, or the word that stands for its absence."""

    rate: Rate | None = None
    level: int = -1
    distance: float | None = None
    found: Rate | None = None  # beside a distance: share of the samples with an error at some distance
    word: str = ""  # failed | damaged | not run | skipped | none
    reason: str = ""
    link: str = ""  # first 8 digits of the cell's key


@dataclass(frozen=True)
class HeatMap:
    eps: str
    headline: bool
    attacks: list[Method]
    controls: list[Method]
    rows: list[tuple[Subject, list[Place], Place, list[Place]]]  # attacks, worst case, controls


def heat_maps(panel: Panel, order: Sequence[Subject]) -> list[HeatMap]:
    """One map per radius, the headline first; rows in the order given, a column per attack, the worst case, controls.

    Without a grid the one map shows median distances.
    """
    attacks, controls = panel.methods("attack"), panel.methods("control")
    maps = []
    for eps, text in reversed(
        list(zip(panel.grid, map(str, panel.radii), strict=True)) or [(math.inf, "any distance")]
    ):
        rows = []
        for subject in (s for s in order if s in panel.subjects):
            left, right = ([_place(panel, subject, m, eps) for m in group] for group in (attacks, controls))
            rows.append((subject, left, _worst_place(panel, subject, eps), right))
        maps.append(HeatMap(text, eps == panel.headline, attacks, controls, rows))
    return maps


def _place(panel: Panel, subject: Subject, method: Method, eps: float) -> Place:
    match panel.at(subject, method):
        case StoredCell() as cell:
            if not panel.grid:
                distance = median_distance(cell.rows, panel.norm)
                return Place(distance=distance, found=_found(panel.held[cell.id.key]), link=cell.id.short)
            rate = panel.curves[cell.id.key][eps]
            return Place(rate, level(rate.value), link=cell.id.short)
        case Gap() as gap:
            return Place(word=gap.status, reason=gap.reason, link=gap.id.short)
        case Skip() as skip:
            return Place(word="skipped", reason=skip.reason)
    return Place(word="none", reason="not part of the matrix")


def _worst_place(panel: Panel, subject: Subject, eps: float) -> Place:
    if subject not in panel.worst:
        return Place(word="not run", reason="no attack has finished")
    done, planned = panel.coverage(subject)
    reason = "" if done == planned else f"over {done} of {planned} attacks"
    if not panel.grid:
        return Place(distance=_nearest(panel, subject), found=_found(panel.worst[subject]), reason=reason)
    rate = rates(panel.worst[subject])[eps]
    return Place(rate, level(rate.value), reason=reason)


def _found(held: pd.DataFrame) -> Rate:
    return wilson(int((~held[math.inf]).sum()), len(held))


def level(value: float) -> int:
    """The colour step of a rate, 0 to LEVELS."""
    return round(LEVELS * value)


@dataclass(frozen=True)
class CurveRow:
    subject: Subject
    method: Method | None  # None: the worst case over attacks
    kind: str  # worst | attack | control
    points: tuple[Rate, ...]  # one per radius


def curve_rows(panel: Panel, subject: Subject) -> list[CurveRow]:
    """Robust accuracy per radius of everything that met this subject: worst case, attacks, controls."""
    cells = [*panel.of(subject, "attack"), *panel.of(subject, "control")]
    rows = [CurveRow(subject, c.id.method, c.id.kind, tuple(panel.curves[c.id.key].values())) for c in cells]
    if subject in panel.worst:
        rows.insert(0, CurveRow(subject, None, "worst", tuple(rates(panel.worst[subject]).values())))
    return rows


@dataclass(frozen=True)
class ClassRow:
    name: str
    n: int
    clean: Rate
    robust: tuple[Rate | None, ...]  # one per panel with a grid


def class_rows(panels: Sequence[Panel], subject: Subject, limit: int = 20) -> list[ClassRow]:
    """Clean and robust accuracy per class at the headline radii; beyond `limit` the least robust classes."""
    cells = [cell for panel in panels for cell in panel.cells if cell.id.subject == subject]
    if not cells:
        return []
    truth = cells[0].rows.drop_duplicates("sample_id").set_index("sample_id")
    names = cells[0].classes
    held = [panel.worst[subject][panel.headline] if subject in panel.worst else None for panel in panels if panel.grid]
    rows = []
    for label, group in truth.groupby("label"):
        index, n = group.index, len(group)
        robust = tuple(None if h is None else wilson(int(h.loc[index].sum()), n) for h in held)
        name = names[int(str(label))] if int(str(label)) < len(names) else str(label)
        rows.append(ClassRow(name, n, wilson(int(group["clean_correct"].sum()), n), robust))
    if len(rows) <= limit:
        return rows
    return sorted(rows, key=lambda row: [r.value for r in row.robust if r] or [row.clean.value])[:limit]


@dataclass(frozen=True)
class ControlRow:
    """A control beside the strongest single attack at the same radius; lengths are medians over correct samples."""

    subject: Subject
    control: Method
    attack: Method | None
    eps: str
    order: float  # eps as a number, to sort by
    by_control: Rate  # share of correct samples that the control fools
    by_attack: Rate | None
    control_length: float
    attack_length: float
    only_control: int  # samples that the control fools and no attack does
    link: str

    @property
    def excess(self) -> float:
        return self.by_attack.value - self.by_control.value if self.by_attack else math.nan


def control_rows(panel: Panel, order: Sequence[Subject]) -> list[ControlRow]:
    """What a perturbation of the same size without information does, against the strongest attack."""
    cells = [c for subject in order for c in panel.of(subject, "control")]
    radii = list(zip(map(str, panel.radii), panel.grid, strict=True))
    return [_control_row(panel, cell, text, eps) for cell in cells for text, eps in radii]


def _control_row(panel: Panel, cell: StoredCell, text: str, eps: float) -> ControlRow:
    subject = cell.id.subject
    correct = cell.rows.groupby("sample_id")["clean_correct"].first()
    held = panel.held[cell.id.key][eps]
    attacks = panel.of(subject, "attack")
    strongest = min(attacks, key=lambda a: int(panel.held[a.id.key][eps].sum()), default=None)
    fooled = None if strongest is None else _fooled(panel.held[strongest.id.key][eps], correct)
    survived = panel.worst[subject][eps] if subject in panel.worst else correct
    return ControlRow(
        subject=subject,
        control=cell.id.method,
        attack=None if strongest is None else strongest.id.method,
        eps=text,
        order=eps,
        by_control=_fooled(held, correct),
        by_attack=fooled,
        control_length=_length(cell, panel.norm, eps),
        attack_length=math.nan if strongest is None else _length(strongest, panel.norm, eps),
        only_control=int((survived & ~held).sum()) if subject in panel.worst else 0,
        link=cell.id.short,
    )


def _fooled(held: pd.Series[bool], correct: pd.Series[bool]) -> Rate:
    return wilson(int((correct & ~held).sum()), int(correct.sum()))


def _length(cell: StoredCell, norm: float, eps: float) -> float:
    """Median length of the judged perturbations at a radius, over the samples that were classified correctly."""
    rows = cell.rows[cell.rows["clean_correct"] & (cell.rows["evidence"] != "nested")]  # nested: x itself was judged
    length = rows[norm_name(norm)]
    if cell.id.radii is None:
        # A distance beyond the radius, or of a sample that was not fooled, is no perturbation here.
        return float(length[broken(rows) & (length <= eps)].median())
    return float(length[(rows["eps"] - eps).abs() <= 1e-9 * (1 + eps)].median())
