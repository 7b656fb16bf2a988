"""Tables of one matrix: leaderboard, every radius, classes, controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from advbench.metrics.medians import Median, median
from advbench.metrics.rates import Rate, wilson
from advbench.metrics.robust import broken, clean_accuracy, nearest_error, rates
from advbench.report.panel import Method, Panel, Subject
from advbench.report.stored import StoredCell
from advbench.types import norm_name


@dataclass(frozen=True)
class Score:
    """A subject under one threat: a rate at the headline radius, or a median distance where there is no grid."""

    rate: Rate | None = None
    distance: Median | None = None
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
    return Score(None, nearest_of(panel, subject), planned - done)


def nearest_of(panel: Panel, subject: Subject) -> Median:
    """Median over samples of the distance to the nearest error that any attack found."""
    nearest = [nearest_error(cell.rows, panel.norm) for cell in panel.of(subject, "attack")]
    return median(pd.concat(nearest, axis=1).min(axis=1))


def _headline(panel: Panel, subject: Subject) -> Rate:
    return rates(panel.worst[subject])[panel.headline]


def _strength(row: Leader) -> tuple[float, ...]:
    found = [*(score.rate or score.distance for score in row.scores), row.clean]
    return tuple(-1.0 if one is None or math.isnan(one.value) else one.value for one in found)


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
    """A control beside the single attack that fools most at the same radius; lengths are medians over correct samples.

    Both rates are over the correct samples that this attack applies to: a goal may leave some out.
    """

    subject: Subject
    control: Method
    attack: Method | None
    eps: str
    order: float  # eps as a number, to sort by
    by_control: Rate  # share that the control fools
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
    strongest = max(attacks, key=lambda a: _count_fooled(panel.held[a.id.key][eps], correct), default=None)
    against = held if strongest is None else panel.held[strongest.id.key][eps]
    survived = panel.worst[subject][eps] if subject in panel.worst else correct
    return ControlRow(
        subject=subject,
        control=cell.id.method,
        attack=None if strongest is None else strongest.id.method,
        eps=text,
        order=eps,
        by_control=_fooled(held.loc[against.index], correct),
        by_attack=None if strongest is None else _fooled(against, correct),
        control_length=_length(cell, panel.norm, eps),
        attack_length=math.nan if strongest is None else _length(strongest, panel.norm, eps),
        only_control=int((survived & ~held).sum()) if subject in panel.worst else 0,
        link=cell.id.short,
    )


def _count_fooled(held: pd.Series[bool], correct: pd.Series[bool]) -> int:
    return int((correct.loc[held.index] & ~held).sum())


def _fooled(held: pd.Series[bool], correct: pd.Series[bool]) -> Rate:
    return wilson(_count_fooled(held, correct), int(correct.loc[held.index].sum()))


def _length(cell: StoredCell, norm: float, eps: float) -> float:
    """Median length of the judged perturbations at a radius, over the samples that were classified correctly."""
    rows = cell.rows[cell.rows["clean_correct"] & (cell.rows["evidence"] != "nested")]  # nested: x itself was judged
    length = rows[norm_name(norm)]
    if cell.id.radii is None:
        # A distance beyond the radius, or of a sample that was not fooled, is no perturbation here.
        return float(length[broken(rows) & (length <= eps)].median())
    return float(length[(rows["eps"] - eps).abs() <= 1e-9 * (1 + eps)].median())
