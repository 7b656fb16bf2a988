"""What a reader needs to check and repeat a matrix: setting, cost per cell, parameters, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from advbench.metrics.budget import REPEATED
from advbench.report.panel import Panel
from advbench.report.stored import Identity, Skip, StoredCell, StoredMatrix
from advbench.report.text import listing, value_text
from advbench.types import norm_name


@dataclass(frozen=True)
class CostRow:
    """One finished cell; passes and queries are means per sample over the whole grid."""

    id: Identity
    n: int
    forwards: float
    backwards: float
    queries: float
    seconds: float

    @property
    def milliseconds(self) -> float:
        """Per sample."""
        return 1000 * self.seconds / self.n if self.n else 0.0


def cost_rows(matrix: StoredMatrix) -> list[CostRow]:
    """Cost of each finished cell, in the order of the plan."""
    return [_cost(cell) for cell in matrix.cells]


def _cost(cell: StoredCell) -> CostRow:
    # Passes are counted once: not again where a result was taken over, nor for each eps that one run serves.
    run = cell.rows[~cell.rows["evidence"].isin(REPEATED)]
    if cell.info is not None and cell.info.minimum_norm and len(cell.id.grid) > 1:
        run = run[run["eps"] == run["eps"].max()]
    forwards, backwards, queries = (
        int(run[name].sum()) / max(1, cell.n) for name in ("forwards", "backwards", "queries")
    )
    return CostRow(cell.id, cell.n, forwards, backwards, queries, cell.seconds)


def threat_text(identity: Identity) -> str:
    """Norm and grid in a few words: "linf, 4 eps to 0.3"."""
    if identity.radii is None:
        return f"{norm_name(identity.norm)}, minimum norm"
    several = f"{len(identity.radii)} eps to" if len(identity.radii) > 1 else "eps"
    return f"{norm_name(identity.norm)}, {several} {identity.radii[-1]}"


def skip_text(skip: Skip) -> str:
    """The labels of a skipped combination in one line."""
    return ", ".join(f"{name} {value}" for name, value in skip.labels.items() if value)


def setting(matrix: StoredMatrix, panels: Sequence[Panel]) -> str:
    """Samples, threats, attacks and controls in one sentence."""
    counts = sorted({cell.n for cell in matrix.cells})
    samples = f"{listing([f'{n:,}' for n in counts])} samples" if counts else "No sample yet"
    name, split = matrix.data.get("name"), matrix.data.get("split")
    source = f" of {value_text(name)}" + (f" ({value_text(split)} split)" if split else "") if name else ""
    threats = "; ".join(_threat(panel) for panel in panels) or "no threat"
    attacks = _methods(panels, "attack")
    controls = _methods(panels, "control")
    beside = (
        f", beside {_count(len(controls), 'control')} without information ({listing(controls)})" if controls else ""
    )
    return f"{samples}{source}; {threats}; {_count(len(attacks), 'attack')} ({listing(attacks)}){beside}."


def _threat(panel: Panel) -> str:
    if not panel.radii:
        return panel.title
    return f"{panel.name} at eps {', '.join(map(str, panel.radii))}"


def _methods(panels: Sequence[Panel], kind: str) -> list[str]:
    methods = dict.fromkeys(chain.from_iterable(panel.methods(kind) for panel in panels))
    return list(dict.fromkeys(attack if goal == "untargeted" else f"{attack} {goal}" for attack, goal, _ in methods))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def gap_counts(matrix: StoredMatrix) -> str:
    """How many of the planned cells are without a result, by status: "14 failed, 2 not run"."""
    return ", ".join(f"{count} {status}" for status, count in Counter(gap.status for gap in matrix.gaps).items())


def unfinished(matrix: StoredMatrix) -> dict[str, int]:
    """How many planned cells are without a result, of the kinds that a section of the page is about."""
    attacks = Counter(gap.id.attack.partition(" ")[0] for gap in matrix.gaps if gap.id.kind == "attack")
    controls = sum(gap.id.kind == "control" for gap in matrix.gaps)
    return {"transfer": attacks["transfer"], "loss_ascent": attacks["loss_ascent"], "control": controls}


def parameter_rows(matrix: StoredMatrix) -> list[tuple[str, str, str, str]]:
    """Each attack and control as it ran: shown name, kind, norm, resolved parameters."""
    rows = [(c.id.attack, c.id.kind, norm_name(c.id.norm), value_text(dict(c.params)) or "none") for c in matrix.cells]
    return list(dict.fromkeys(rows))


def provenance_rows(matrix: StoredMatrix) -> list[tuple[str, str]]:
    """Where the results came from; a fact that differs between cells is shown with each of its values."""
    facts = [("matrix file", matrix.file), ("seed", matrix.seed)]
    facts += [(f"data: {name}", value_text(value)) for name, value in matrix.data.items() if value is not None]
    records = [cell.provenance for cell in matrix.cells]
    for name in dict.fromkeys(chain.from_iterable(records)):
        facts.append((name.replace("_", " "), _agreed(name, records)))
    return [(name, value) for name, value in facts if value]


def _agreed(name: str, records: Iterable[Mapping[str, object]]) -> str:
    values = sorted({value_text(record[name]) for record in records if name in record})
    if name in ("started", "ended"):
        return values[0] if name == "started" else values[-1]
    return "; ".join(values[:4]) + (f"; and {len(values) - 4} more" if len(values) > 4 else "")
