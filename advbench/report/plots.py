"""Curves of one threat: a figure per model with its description in words, and one legend for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from advbench.metrics.rates import Rate
from advbench.metrics.robust import nearest_error, rates
from advbench.report import figures
from advbench.report.figures import Line, Themed
from advbench.report.panel import Method, Panel, Subject
from advbench.report.stored import StoredCell
from advbench.report.tables import CurveRow, clean_of, curve_rows
from advbench.report.text import method_text, percent

MANY = 9  # of lines; figures with more are drawn larger, two in a line instead of three
FIGURES = 12  # per threat; more would make the page heavy and nobody compares them by eye


@dataclass(frozen=True)
class Key:
    """An entry of the legend; method None is the worst case."""

    method: Method | None
    kind: str
    mark: Themed


@dataclass(frozen=True)
class Plot:
    subject: Subject
    image: Themed | None  # None beyond the first FIGURES models: their numbers are in the table
    alt: str
    rows: list[CurveRow]


def legend(panel: Panel) -> list[Key]:
    """Worst case, attacks, controls: the marks that the figures of the panel use; what has no result has no mark."""
    done = {cell.id.method for cell in panel.cells}
    keys = [Key(None, "worst", figures.swatch("worst", 0))] if panel.worst else []
    for order, method in enumerate(panel.methods("attack")):
        kind = "distance" if method[2] else "attack"
        keys.append(Key(method, kind, figures.swatch(kind, order)))
    controls = enumerate(panel.methods("control"))
    keys += [Key(method, "control", figures.swatch("control", order)) for order, method in controls]
    return [key for key in keys if key.method is None or key.method in done]


def has_many(panel: Panel) -> bool:
    """Are the figures of the panel drawn larger?"""
    return len(panel.methods("attack")) + len(panel.methods("control")) >= MANY


def plots(panel: Panel, order: list[Subject]) -> list[Plot]:
    """A figure for each of the first subjects that have a result, in the order given; all on the same axes."""
    shown = [s for s in order if any(cell.id.subject == s for cell in panel.cells)]
    right = panel.headline if panel.grid or not shown else _reach(panel)
    return [_plot(panel, s, right) for s in shown[:FIGURES]] + [
        Plot(s, None, "", curve_rows(panel, s)) for s in shown[FIGURES:]
    ]


def _plot(panel: Panel, subject: Subject, right: float) -> Plot:
    cells = [cell for cell in panel.cells if cell.id.subject == subject]
    lines = [_line(panel, cell, right) for cell in cells]
    if subject in panel.worst:
        lines.append(_worst_line(panel, subject))
    rows = curve_rows(panel, subject)
    ticks = (
        figures.tick_texts(panel.grid, [str(radius) for radius in panel.radii]) if panel.grid else _round_ticks(right)
    )
    axis = f"{'eps' if panel.grid else 'distance'} ({panel.name})"
    classes = len(cells[0].classes)
    image = figures.curves(lines, ticks=ticks, chance=1 / max(1, classes), axis=axis, many=has_many(panel))
    return Plot(subject, image, _alt(panel, subject, rows), rows)


def _line(panel: Panel, cell: StoredCell, right: float) -> Line:
    order = panel.methods(cell.id.kind).index(cell.id.method)
    if cell.id.radii is None:
        return Line("distance", order, steps=_survival(nearest_error(cell.rows, panel.norm), right))
    return Line(cell.id.kind, order, _points(panel, cell.id.subject, panel.held[cell.id.key]))


def _worst_line(panel: Panel, subject: Subject) -> Line:
    if panel.grid:
        return Line("worst", 0, _points(panel, subject, panel.worst[subject]))
    nearest = [nearest_error(cell.rows, panel.norm) for cell in panel.of(subject, "attack")]
    return Line("worst", 0, steps=_survival(pd.concat(nearest, axis=1).min(axis=1), panel.headline))


def _points(panel: Panel, subject: Subject, held: pd.DataFrame) -> tuple[tuple[float, Rate], ...]:
    clean = clean_of([panel], subject)
    points = tuple(rates(held).items())
    return points if clean is None or points[0][0] == 0 else ((0.0, clean), *points)


def _survival(nearest: pd.Series[float], right: float) -> tuple[tuple[float, float], ...]:
    """Share of the samples whose nearest error lies beyond each distance, as the corners of a step curve."""
    distances = sorted(round(float(distance), 6) for distance in nearest)
    corners = {0.0: 1.0} | {x: 1 - i / len(distances) for i, x in enumerate(distances, 1) if x <= right}
    return tuple(corners.items())


def _reach(panel: Panel) -> float:
    """Where the axis of a panel without grid ends: at the 98th percentile of the distances, rounded up."""
    nearest = pd.concat([nearest_error(cell.rows, panel.norm) for cell in panel.cells])
    finite = nearest[(nearest < math.inf) & (nearest > 0)]
    return figures.round_up(float(finite.quantile(0.98))) if len(finite) else 1.0


def _round_ticks(right: float) -> list[tuple[float, str]]:
    return [(right * k / 4, f"{right * k / 4:.3g}") for k in range(5)]


def _alt(panel: Panel, subject: Subject, rows: list[CurveRow]) -> str:
    """The figure in words, from the numbers of its table."""
    model = " with ".join(filter(None, subject))
    clean = clean_of([panel], subject)
    start = f"Share of samples of {model} that hold in {panel.name}"
    if clean is not None:
        start += f", {percent(clean.value)} % without attack"
    where = f"at eps {panel.radii[-1]}" if panel.grid else "at any distance"
    ends = [f"{_who(row)} {percent(row.points[-1].value)} %" for row in rows]
    return f"{start}. Left {where}: {', '.join(ends)}."


def _who(row: CurveRow) -> str:
    return "worst case" if row.method is None else method_text(row.method)
