"""Do explanations survive the attacks, and do methods agree: tables from the stored comparisons of each cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from advbench.report.heat_maps import LEVELS
from advbench.report.panel import Panel, Subject
from advbench.report.stored import Identity, left_out
from advbench.store import UnreadableError, read_table

FILE = "explanations.parquet"
IMAGES = ("clean", "adversarial")


@dataclass(frozen=True)
class Survival:
    """One method against one attack, means over `n` samples. overlap in [0, 1], correlations in [-1, 1].

    blank: samples left out of the means because a map of theirs has no structure; if all are, the means are nan. found:
    the correlation where the class found at x_adv is explained instead of the label. noise: the overlap that the same
    change leaves with its pixels shuffled; None if it was not measured. level: of the colour scale.
    """

    n: int
    blank: int
    overlap: float
    correlation: float
    found: float
    shift: float
    noise: float | None
    level: int


@dataclass(frozen=True)
class SurvivalRow:
    """One cell; `survivals` in the order of the table's methods, None where the method has no meaning for the model."""

    id: Identity
    n: int
    survivals: tuple[Survival | None, ...]


@dataclass(frozen=True)
class SurvivalTable:
    """All cells of one threat that explained their samples."""

    title: str
    slug: str
    methods: tuple[str, ...]
    rows: tuple[SurvivalRow, ...]


@dataclass(frozen=True)
class Agreement:
    """Mean rank correlation of the methods' maps of one model on the same images: a symmetric table, 1 on its diagonal.

    n: images looked at. values, levels, blank: by row and column, in the order of `methods`. A value is None if never
    compared, nan if all images are left out. blank: so many are, because one of the two maps has no structure.
    """

    subject: Subject
    image: str  # one of IMAGES
    n: int
    methods: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    levels: tuple[tuple[int, ...], ...]
    blank: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Explanations:
    tables: tuple[SurvivalTable, ...]
    agreements: tuple[tuple[Subject, tuple[Agreement, ...]], ...]
    note: str = ""  # which cells are left out because they are damaged


def explanations(panels: Sequence[Panel], order: Sequence[Subject]) -> Explanations:
    """What the cells of the panels have stored, models in the given order; cells without the file are left out."""
    known, damaged = _stored(panels)
    tables = [_survivals(panel, known, order) for panel in panels]
    agreements = [(subject, _agreements(subject, panels, known)) for subject in order]
    return Explanations(
        tables=tuple(table for table in tables if table.rows and table.methods),
        agreements=tuple((subject, found) for subject, found in agreements if found),
        note=left_out("explanations", damaged),
    )


def _stored(panels: Sequence[Panel]) -> tuple[dict[str, pd.DataFrame], list[Identity]]:
    """The comparisons of the cells that have some, by key, and the cells whose file cannot be read."""
    cells = {cell.id.key: cell for panel in panels for cell in panel.cells if (cell.folder / FILE).is_file()}
    known: dict[str, pd.DataFrame] = {}
    damaged: list[Identity] = []
    for key, cell in cells.items():
        try:
            known[key] = read_table(cell.folder / FILE)
        except UnreadableError:
            damaged.append(cell.id)
    return known, damaged


def _survivals(panel: Panel, known: dict[str, pd.DataFrame], order: Sequence[Subject]) -> SurvivalTable:
    # A minimum-norm cell joins every panel of its norm; its maps are those of its own.
    own = [cell for cell in panel.cells if cell.id.key in known and (cell.id.radii or ()) == panel.radii]
    cells = sorted(own, key=lambda cell: (order.index(cell.id.subject), cell.id.kind))
    met = {cell.id.key: known[cell.id.key].query("between in ('attack', 'noise')") for cell in cells}
    methods = _methods(met.values())
    rows = [
        SurvivalRow(
            cell.id,
            int(met[cell.id.key]["sample_id"].nunique()),
            tuple(_survival(met[cell.id.key], method) for method in methods),
        )
        for cell in cells
    ]
    return SurvivalTable(panel.title, panel.slug, methods, tuple(rows))


def _survival(table: pd.DataFrame, method: str) -> Survival | None:
    rows, noise = (table[(table["first"] == method) & (table["between"] == kind)] for kind in ("attack", "noise"))
    if not len(rows):
        return None
    means = rows[["overlap", "correlation", "found_correlation", "shift"]].mean()
    return Survival(
        n=int(rows["overlap"].count()),
        blank=int(rows["overlap"].isna().sum()),
        overlap=float(means["overlap"]),
        correlation=float(means["correlation"]),
        found=float(means["found_correlation"]),
        shift=float(means["shift"]),
        noise=float(noise["overlap"].mean()) if noise["overlap"].count() else None,
        level=_level(float(means["overlap"])),
    )


def _agreements(subject: Subject, panels: Sequence[Panel], known: dict[str, pd.DataFrame]) -> tuple[Agreement, ...]:
    """Clean images are the same in every cell and count once; adversarial ones are those of the attacks."""
    cells = {c.id.key: c for panel in panels for c in panel.cells if c.id.subject == subject and c.id.key in known}
    attacks = [known[key] for key, cell in cells.items() if cell.id.kind == "attack"]
    if not attacks:
        return ()
    table = pd.concat(attacks, ignore_index=True)
    clean = table[table["between"] == "clean"].drop_duplicates(["sample_id", "first", "second"])
    found = [
        _agreement(subject, image, rows)
        for image, rows in zip(IMAGES, (clean, table[table["between"] == "adversarial"]), strict=True)
    ]
    return tuple(agreement for agreement in found if agreement.methods)


def _agreement(subject: Subject, image: str, rows: pd.DataFrame) -> Agreement:
    methods = tuple(dict.fromkeys([*rows["first"], *rows["second"]]))
    groups = rows.groupby(["first", "second"])["correlation"]
    means, sizes = groups.mean(), groups.size()
    left_out = sizes - groups.count()

    def stored(first: str, second: str) -> tuple[str, str] | None:
        return next((pair for pair in ((first, second), (second, first)) if pair in means.index), None)

    def at(first: str, second: str) -> float | None:
        pair = stored(first, second)
        return 1.0 if first == second else None if pair is None else float(means[pair])

    def missing(first: str, second: str) -> int:
        pair = stored(first, second)
        return 0 if pair is None else int(left_out[pair])

    values = tuple(tuple(at(first, second) for second in methods) for first in methods)
    levels = tuple(tuple(_level(value or 0.0) for value in row) for row in values)
    blank = tuple(tuple(missing(first, second) for second in methods) for first in methods)
    return Agreement(subject, image, int(sizes.max()) if len(rows) else 0, methods, values, levels, blank)


def _methods(tables: Iterable[pd.DataFrame]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(method for table in tables for method in table["first"].unique()))


def _level(value: float) -> int:
    """The step of the colour scale from 0 to 1; what is below 0, or nan, looks like 0."""
    return round(LEVELS * min(1.0, max(0.0, value)))
