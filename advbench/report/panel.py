"""One threat of one matrix: which model met which attack, and which samples held at which radius."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import pandas as pd

from advbench.metrics.rates import Rate
from advbench.metrics.robust import applicable, rates, verdicts, worst_case
from advbench.report.stored import Gap, Skip, StoredCell, StoredMatrix
from advbench.types import Radius, norm_name

Subject = tuple[str, str]
Method = tuple[str, str, str]
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Panel:
    """Cells and gaps that answer to one norm and one grid of radii.

    Minimum-norm cells have no grid: they make a panel of their own about distances, with empty `radii`. They also join
    the other panels of their norm, read at its radii, unless the same attack ran on that grid.
    """

    norm: float
    radii: tuple[Radius, ...]
    entries: tuple[StoredCell | Gap, ...]
    skips: tuple[Skip, ...]

    @property
    def name(self) -> str:
        return norm_name(self.norm)

    @property
    def slug(self) -> str:
        """For element ids: "linf-0.1-0.2"."""
        return "-".join([self.name, *(str(radius).replace("/", "over") for radius in self.radii)])

    @property
    def title(self) -> str:
        return self.name if self.radii else f"{self.name}, minimum norm"

    @property
    def grid(self) -> tuple[float, ...]:
        return tuple(map(float, self.radii))

    @property
    def headline(self) -> float:
        """The largest radius; inf (any distance) where there is no grid."""
        return self.grid[-1] if self.grid else float("inf")

    @cached_property
    def cells(self) -> list[StoredCell]:
        return [entry for entry in self.entries if isinstance(entry, StoredCell)]

    @cached_property
    def subjects(self) -> list[Subject]:
        return _unique(entry.id.subject for entry in self.entries)

    def methods(self, kind: str) -> list[Method]:
        return _unique(entry.id.method for entry in self.entries if entry.id.kind == kind)

    @cached_property
    def _by_place(self) -> dict[tuple[Subject, Method], StoredCell | Gap]:
        return {(entry.id.subject, entry.id.method): entry for entry in self.entries}

    def at(self, subject: Subject, method: Method) -> StoredCell | Gap | Skip | None:
        """What stands at one place of the table: a result, a gap or a skip with its reason, or nothing planned."""
        return self._by_place.get((subject, method)) or self._skip(subject, method)

    def _skip(self, subject: Subject, method: Method) -> Skip | None:
        place = {"model": subject[0], "defense": subject[1], "attack": method[0], "goal": method[1], "norm": self.name}
        return next((s for s in self.skips if all(place.get(k, v) == v for k, v in s.labels.items())), None)

    @cached_property
    def held(self) -> dict[str, pd.DataFrame]:
        """Verdicts of each cell by its key, on the samples that its attack applies to: bool, sample_id x radius."""
        return {cell.id.key: verdicts(applicable(cell.rows), self.norm, self.grid) for cell in self.cells}

    @cached_property
    def curves(self) -> dict[str, dict[float, Rate]]:
        """Robust accuracy per radius of each cell by its key."""
        return {key: rates(held) for key, held in self.held.items()}

    def of(self, subject: Subject, kind: str) -> list[StoredCell]:
        return [cell for cell in self.cells if cell.id.subject == subject and cell.id.kind == kind]

    @cached_property
    def worst(self) -> dict[Subject, pd.DataFrame]:
        """Verdicts against all finished attacks, for the subjects that have one."""
        done = {subject: self.of(subject, "attack") for subject in self.subjects}
        return {
            subject: worst_case(verdicts(cell.rows, self.norm, self.grid) for cell in cells)
            for subject, cells in done.items()
            if cells
        }

    def coverage(self, subject: Subject) -> tuple[int, int]:
        """How many of the planned attacks of this subject are done."""
        planned = [e for e in self.entries if e.id.subject == subject and e.id.kind == "attack"]
        return len(self.of(subject, "attack")), len(planned)


def panels(matrix: StoredMatrix) -> list[Panel]:
    """The threats of a matrix in the order of its plan."""
    threats = _unique((entry.id.norm, entry.id.radii) for entry in matrix.entries)
    return [_panel(matrix, norm, radii or ()) for norm, radii in threats]


def _panel(matrix: StoredMatrix, norm: float, radii: tuple[Radius, ...]) -> Panel:
    here = [entry for entry in matrix.entries if entry.id.norm == norm]
    own = [entry for entry in here if (entry.id.radii or ()) == radii]
    taken = {(entry.id.attack, entry.id.goal) for entry in own}
    # An attack that ran on this grid and also without a radius would stand here twice: the run on the grid speaks.
    joining = [e for e in here if e.id.radii is None and (e.id.attack, e.id.goal) not in taken]
    wanted = {entry.id.key for entry in (*own, *joining)}
    return Panel(norm, radii, tuple(entry for entry in here if entry.id.key in wanted), matrix.skips)


def _unique(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))
