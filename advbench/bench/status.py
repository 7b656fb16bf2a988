"""How far a matrix is: the state of each of its cells, read from the results folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from advbench.bench.cell_folder import CHUNKS, FAILURE, chunks_done, damage, is_done, is_locked
from advbench.store import UnreadableError, read_json
from advbench.types import ConfigError, Json

MATRIX = "matrix.json"


@dataclass(frozen=True)
class CellState:
    """One cell of a stored matrix. detail: why it failed, is damaged or was skipped, or how many chunks are stored.

    damaged: there is a result, whose `cell.json` cannot be read; the runner leaves it alone.
    """

    key: str
    folder: Path
    labels: Mapping[str, str]
    kind: str
    eps: tuple[str, ...] | None
    status: Literal["done", "damaged", "failed", "running", "missing", "skipped"]
    detail: str = ""


def matrix_folders(path: Path) -> list[Path]:
    """The folders of stored matrices at `path`: itself, or those in it. Raises ConfigError if there is none."""
    found = [path] if (path / MATRIX).is_file() else sorted(file.parent for file in path.glob(f"*/{MATRIX}"))
    if not found:
        raise ConfigError(f"no results in {path}: `advbench run` writes {MATRIX} there or one folder below")
    return found


def cell_states(folder: Path) -> list[CellState]:
    """Every cell of the matrix stored in `folder`, in its order, then the skips.

    Raises UnreadableError if the plan is damaged.
    """
    path = folder / MATRIX
    try:
        stored = cast("Mapping[str, list[Mapping[str, Json]]]", read_json(path))
        cells = [_cell_state(folder, entry) for entry in stored["cells"]]
        skips = [
            CellState(
                "", folder, cast("Mapping[str, str]", skip["labels"]), "skip", None, "skipped", str(skip["reason"])
            )
            for skip in stored["skips"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(path, f"it is no plan of a matrix ({type(error).__name__}: {error})") from None
    return cells + skips


def _cell_state(results: Path, entry: Mapping[str, Json]) -> CellState:
    folder = results / Path(str(entry["folder"])).name  # the plan may be somebody else's: nothing outside is looked at
    status, detail = _progress(folder)
    eps = cast("list[str] | None", entry["eps"])
    return CellState(
        key=str(entry["key"]),
        folder=folder,
        labels=cast("Mapping[str, str]", entry["labels"]),
        kind=str(entry["kind"]),
        eps=None if eps is None else tuple(eps),
        status=status,
        detail=detail,
    )


def _progress(folder: Path) -> tuple[Literal["done", "damaged", "failed", "running", "missing"], str]:
    if is_done(folder):
        detail = damage(folder)
        return "damaged" if detail else "done", detail
    chunks = _chunks(folder)
    if is_locked(folder):
        return "running", chunks
    if (folder / FAILURE).is_file():
        return "failed", _failure(folder / FAILURE)
    return "missing", chunks


def _failure(path: Path) -> str:
    """The error that is noted there."""
    try:
        note = read_json(path)
    except UnreadableError as error:
        return str(error)
    return str(note.get("error", "")) if isinstance(note, dict) else ""


def _chunks(folder: Path) -> str:
    """ "3 of 10 chunks", or "" before the first."""
    path = folder / CHUNKS / "cut.json"
    try:
        cut = read_json(path) if path.is_file() else None
    except UnreadableError as error:
        return str(error)
    done = len(chunks_done(folder))
    match cut:
        case {"samples": int(samples), "chunk": int(size)} if done:
            return f"{done} of {-(-samples // size)} chunks"
        case _:
            return ""
