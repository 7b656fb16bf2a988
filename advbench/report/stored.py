"""Reader of result folders: what was done, what failed, what is missing. Reads, never repairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd

from advbench.registry import ATTACKS, CONTROLS, AttackInfo
from advbench.report.text import method_text
from advbench.store import read_json, read_table
from advbench.types import ConfigError, Json, Radius, norm_name, norm_of

MATRIX = "matrix.json"
NAMED = 5  # cells that a sentence names
# Columns that the report reads; the others stay on the disk.
COLUMNS = [
    *("sample_id", "eps", "label", "target", "clean_pred", "adv_pred", "clean_correct", "fooled", "in_ball", "in_box"),
    *("l0", "l1", "l2", "linf", "first_success_step", "forwards", "backwards", "queries", "status", "evidence"),
    "blind",
]


@dataclass(frozen=True)
class Identity:
    """Which cell of a matrix, by its shown names: enough to place it in a table, done or not."""

    key: str
    model: str
    defense: str
    attack: str
    goal: str
    norm: float
    radii: tuple[Radius, ...] | None
    kind: str  # attack | control

    @property
    def short(self) -> str:
        return self.key[:8]

    @property
    def subject(self) -> tuple[str, str]:
        """Model and defense: a row of the report's tables."""
        return self.model, self.defense

    @property
    def method(self) -> tuple[str, str, str]:
        """Attack, goal and whether it seeks the nearest example: a column of the report's tables."""
        return self.attack, self.goal, "minimum norm" if self.radii is None else ""

    @property
    def grid(self) -> tuple[float, ...]:
        return tuple(map(float, self.radii or ()))


@dataclass(frozen=True, eq=False)
class StoredCell:
    """A finished cell with its rows. model: what is attacked, as in the cell's key."""

    id: Identity
    folder: Path
    rows: pd.DataFrame
    classes: tuple[str, ...]
    seconds: float
    attack: str  # registered name
    params: Mapping[str, Json]
    provenance: Mapping[str, Json]
    transfer: Mapping[str, Json]
    model: Mapping[str, Json] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return int(self.rows["sample_id"].nunique())

    @property
    def info(self) -> AttackInfo | None:
        """What its attack or control declares; None if there is none of that name here."""
        registry = CONTROLS if self.id.kind == "control" else ATTACKS
        return registry[self.attack].info if self.attack in registry else None


@dataclass(frozen=True)
class Gap:
    """A cell of the plan without a result: failed, damaged or not run yet."""

    id: Identity
    status: str
    reason: str


@dataclass(frozen=True)
class Skip:
    """A combination that the plan left out, and why."""

    labels: Mapping[str, str]
    reason: str


@dataclass(frozen=True, eq=False)
class StoredMatrix:
    """One matrix as found on the disk, cells in the order of the plan."""

    folder: Path
    question: str
    file: str
    seed: str
    data: Mapping[str, Json]
    entries: tuple[StoredCell | Gap, ...]
    skips: tuple[Skip, ...]
    stale: int  # stored cells that the plan no longer names

    @property
    def cells(self) -> tuple[StoredCell, ...]:
        return tuple(entry for entry in self.entries if isinstance(entry, StoredCell))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(entry for entry in self.entries if isinstance(entry, Gap))


def left_out(what: str, damaged: Sequence[Identity]) -> str:
    """A sentence about the cells whose stored `what` cannot be read; "" if there are none."""
    if not damaged:
        return ""
    names = [f"{i.model} {i.defense} against {method_text(i.method)}, {norm_name(i.norm)}" for i in damaged[:NAMED]]
    names += [f"{len(damaged) - NAMED} more"] if len(damaged) > NAMED else []
    cells = f"{len(damaged)} cell{'s' if len(damaged) > 1 else ''}"
    return f"The stored {what} of {cells} cannot be read and are left out: {'; '.join(names)}."


def read_matrix(folder: Path) -> StoredMatrix:
    """Everything in one results/<matrix> folder, or in the only such folder below `folder`.

    Raises ConfigError if there is no matrix.json, if there are several below, or if it cannot be read.
    """
    folder = _matrix_folder(folder)
    path = folder / MATRIX
    try:
        plan = cast("dict[str, Any]", read_json(path))
        found = [_read_planned(folder, entry) for entry in plan["cells"]]
        skips = tuple(Skip(_words(skip["labels"]), str(skip["reason"])) for skip in plan["skips"])
        named = {Path(str(entry["folder"])).name for entry in plan["cells"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    return StoredMatrix(
        folder=folder,
        question=str(plan.get("question") or folder.name),
        file=str(plan.get("file", "")),
        seed=str(plan.get("seed", "")),
        data=dict(plan.get("data") or {}),
        entries=tuple(found),
        skips=skips,
        stale=sum(1 for done in folder.glob("*/cell.json") if done.parent.name not in named),
    )


def _matrix_folder(folder: Path) -> Path:
    """`folder` if a matrix is stored there, else the one folder in it with a matrix: what --out of `attack` is."""
    if (folder / MATRIX).is_file():
        return folder
    inside = sorted(file.parent for file in folder.glob(f"*/{MATRIX}"))
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(str(path) for path in inside)
        raise ConfigError(f"{folder} holds {len(inside)} matrices; give one or more of them: {names}")
    raise ConfigError(f"no results in {folder}: there is no {MATRIX} in it or one folder below; see `advbench run`")


def _read_planned(root: Path, entry: Mapping[str, Any]) -> StoredCell | Gap:
    identity = _identity(entry)
    folder = root / Path(str(entry["folder"])).name
    if (folder / "cell.json").is_file():
        try:
            return _read_cell(identity, folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return Gap(identity, "damaged", f"{type(error).__name__}: {error}")
    return _gap(identity, folder)


def _read_cell(identity: Identity, folder: Path) -> StoredCell:
    record = cast("dict[str, Any]", read_json(folder / "cell.json"))
    if record["schema"] != 1:
        raise ValueError(f"schema {record['schema']} is not known to this version")
    attack = record["spec"]["attack"]
    rows = read_table(folder / "samples.parquet")
    return StoredCell(
        id=identity,
        folder=folder,
        rows=rows.assign(blind=rows.get("blind", False))[COLUMNS],  # older results lack this column
        classes=tuple(map(str, record["classes"])),
        seconds=float(record["seconds"]),
        attack=str(attack["name"]),
        params=dict(attack.get("params") or {}),
        provenance=dict(record.get("provenance") or {}),
        transfer=dict(record.get("substitute") or {}),
        model=dict(record["spec"].get("model") or {}),
    )


def _gap(identity: Identity, folder: Path) -> Gap:
    if (folder / "failure.json").is_file():
        try:
            failure = cast("dict[str, Any]", read_json(folder / "failure.json"))
            return Gap(identity, "failed", str(failure["error"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Gap(identity, "failed", f"failure.json cannot be read: {error}")
    if (folder / "chunks").is_dir():
        return Gap(identity, "not run", "interrupted or still running; the next run resumes it")
    return Gap(identity, "not run", "not run yet")


def _identity(entry: Mapping[str, Any]) -> Identity:
    labels = _words(entry["labels"])
    eps = entry["eps"]
    return Identity(
        key=str(entry["key"]),
        model=labels["model"],
        defense=labels["defense"],
        attack=labels["attack"],
        goal=labels["goal"],
        norm=norm_of(labels["norm"]),
        radii=None if eps is None else tuple(sorted((Radius(str(text)) for text in eps), key=float)),
        kind=str(entry["kind"]),
    )


def _words(labels: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in labels.items()}
