"""Robust accuracy against the passes that an attack was given, from one run: a figure per model, and its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from advbench.metrics.budget import budget_steps, longest_run, passes_to_error, robust_after
from advbench.metrics.rates import Rate
from advbench.report import figures
from advbench.report.figures import Line, Themed
from advbench.report.panel import Method, Panel, Subject
from advbench.report.plots import FIGURES, has_many
from advbench.report.stored import StoredCell
from advbench.report.text import method_text, number, percent

DIGITS = 3  # significant digits of the passes at which a line falls; more could not be seen on a logarithmic axis


@dataclass(frozen=True)
class BudgetRow:
    """One attack: its robust accuracy after each of the budgets of the page, and after its whole run."""

    subject: Subject
    method: Method
    kind: str
    points: tuple[Rate, ...]
    whole: Rate
    most: int  # passes of the longest run


@dataclass(frozen=True)
class BudgetPlot:
    subject: Subject
    image: Themed | None  # None beyond the first FIGURES models
    alt: str
    rows: list[BudgetRow]


@dataclass(frozen=True)
class Budgets:
    """What one threat says about budgets at its headline radius; columns are the passes at which it is read."""

    columns: tuple[int, ...]
    plots: list[BudgetPlot]


@dataclass(frozen=True, eq=False)
class _Run:
    cell: StoredCell
    passes: pd.Series[float]
    most: int


def budgets(panel: Panel, order: Sequence[Subject]) -> Budgets:
    """The runs of a threat with a radius, by subject in the order given; all figures share their axes."""
    if not panel.grid:
        return Budgets((), [])
    runs: dict[Subject, list[_Run]] = {subject: [] for subject in order}
    for kind in ("attack", "control"):
        for cell in (cell for subject in order for cell in panel.of(subject, kind)):
            runs[cell.id.subject].append(_run(panel, cell))
    shown = [subject for subject in order if runs[subject]]
    most = max((1, *(run.most for subject in shown for run in runs[subject])))
    columns = tuple(10**k for k in range(math.ceil(math.log10(max(10, most)))))
    plots = [_plot(panel, s, runs[s], columns, most if i < FIGURES else 0) for i, s in enumerate(shown)]
    return Budgets(columns, plots)


def _run(panel: Panel, cell: StoredCell) -> _Run:
    passes = passes_to_error(cell.rows, panel.norm, panel.headline)
    last = int(passes[passes < math.inf].max()) if (passes < math.inf).any() else 0
    return _Run(cell, passes, max(last, longest_run(cell.rows, panel.headline)))


def _plot(panel: Panel, subject: Subject, runs: list[_Run], columns: Sequence[int], most: int) -> BudgetPlot:
    """most: passes of the longest run of all models, where the axes end; 0: without a figure."""
    rows = [_row(run, columns) for run in runs]
    if not most:
        return BudgetPlot(subject, None, "", rows)
    chance = 1 / max(1, len(runs[0].cell.classes))
    lines = [_line(panel, run) for run in runs]
    image = figures.budget_curves(lines, right=most, chance=chance, many=has_many(panel))
    return BudgetPlot(subject, image, _alt(panel, subject, rows), rows)


def _row(run: _Run, columns: Sequence[int]) -> BudgetRow:
    identity = run.cell.id
    points = tuple(robust_after(run.passes, budget) for budget in columns)
    return BudgetRow(identity.subject, identity.method, identity.kind, points, robust_after(run.passes, 1e18), run.most)


def _line(panel: Panel, run: _Run) -> Line:
    identity = run.cell.id
    kind = "distance" if identity.kind == "attack" and identity.radii is None else identity.kind
    corners = {float(f"{passes:.{DIGITS}g}"): share for passes, share in budget_steps(run.passes)}
    end = float(f"{run.most:.{DIGITS}g}")
    steps = (*corners.items(), (end, list(corners.values())[-1]))
    return Line(kind, panel.methods(identity.kind).index(identity.method), steps=steps)


def _alt(panel: Panel, subject: Subject, rows: Sequence[BudgetRow]) -> str:
    """The figure in words, from the numbers of its table."""
    model = " with ".join(filter(None, subject))
    ends = [f"{method_text(row.method)} {percent(row.whole.value)} % after {number(row.most)}" for row in rows]
    start = f"Share of samples of {model} that hold in {panel.name} at eps {panel.radii[-1]} over passes per sample"
    return f"{start}. Left at the end of the runs: {', '.join(ends)}."
