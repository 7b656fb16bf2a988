"""The folder of a cell: chunks while it runs, its files when it is done, `cell.json` last as the commit mark."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import filelock
import pandas as pd
import torch

from advbench.store import (
    UnreadableError,
    file_hash,
    read_json,
    read_table,
    read_tensors,
    remove_temporaries,
    storing,
    write_json,
    write_table,
    write_tensors,
    write_text,
)
from advbench.types import Json, Outcomes

CELL, FAILURE, LOG, CHUNKS, LOCK = "cell.json", "failure.json", "log.txt", "chunks", ".lock"
TABLE, EXAMPLES, GALLERY = "samples.parquet", "examples.safetensors", "gallery.safetensors"
EXPLANATIONS = "explanations.parquet"  # only where the matrix asks for explanations
REPAIR = "delete the folder of the cell, and the next run makes it again"


class BusyError(Exception):
    """Another run holds the lock of this cell."""


class Rows(NamedTuple):
    """Rows of a cell: the table, and x_adv (M, C, H, W) of the rows `row` (M,) of it that keep their image."""

    table: pd.DataFrame
    row: torch.Tensor
    x_adv: torch.Tensor
    seconds: float


@dataclass(frozen=True)
class Cut:
    """What a resumed cell must share with the run it continues, or floats would differ in the last place."""

    chunk: int
    samples: int
    micro_batch: int | None

    def as_json(self) -> dict[str, Json]:
        return {"chunk": self.chunk, "samples": self.samples, "micro_batch": self.micro_batch}


def folder_name(slug: str, key: str) -> str:
    """`<slug>-<first eight digits of the key>`: readable, and its own for every content."""
    return f"{slug}-{key[:8]}"


def is_done(folder: Path) -> bool:
    """Is the cell's result complete?"""
    return (folder / CELL).is_file()


def read_record(folder: Path) -> Mapping[str, Json]:
    """What `commit` stored in `cell.json`. Raises UnreadableError if that is damaged."""
    record = read_json(folder / CELL)
    if isinstance(record, dict):
        summary = record.get("summary")
        if isinstance(summary, list) and all(isinstance(row, dict) for row in summary):
            return record
    raise UnreadableError(folder / CELL, "it is no record of a cell")


def damage(folder: Path) -> str:
    """Why the record of a finished cell cannot be read; "" if it can."""
    try:
        read_record(folder)
    except UnreadableError as error:
        return str(error)
    return ""


def summary_of(record: Mapping[str, Json]) -> tuple[Mapping[str, Json], ...]:
    """The rows of the record, one per eps."""
    return tuple(cast("list[Mapping[str, Json]]", record["summary"]))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the cell for this process. Raises BusyError at once if another run holds it."""
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except filelock.Timeout:
        raise BusyError(f"another run is at work in {folder}") from None
    try:
        remove_temporaries(folder)
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Does a run hold the cell? Asking changes nothing in it."""
    if not (folder / LOCK).is_file():
        return False
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    except OSError:  # not even ours to open, as in a folder that is read only
        return False
    lock.release()
    return False


def open_chunks(folder: Path, cut: Cut) -> Cut:
    """Begin the cell, or go on with it: the cut to use. Chunks cut in another way are dropped."""
    path = folder / CHUNKS / "cut.json"
    if path.is_file():
        stored = read_json(path)
        if isinstance(stored, dict) and (stored["chunk"], stored["samples"]) == (cut.chunk, cut.samples):
            pinned = stored["micro_batch"]
            return Cut(cut.chunk, cut.samples, pinned if isinstance(pinned, int) else None)
        shutil.rmtree(folder / CHUNKS)
    write_json(path, cut.as_json())
    return cut


def pin(folder: Path, cut: Cut) -> None:
    """Store the cut that the first chunk has settled."""
    write_json(folder / CHUNKS / "cut.json", cut.as_json())


def chunks_done(folder: Path) -> list[int]:
    """Numbers of the stored chunks, in order."""
    return sorted(int(path.stem) for path in (folder / CHUNKS).glob("[0-9]*.parquet"))


def write_chunk(folder: Path, number: int, outcomes: Outcomes, seconds: float) -> None:
    """Store a chunk: its images first, its table last, so that a table stands for a whole chunk."""
    assert outcomes.x_adv is not None
    kept = keeps_image(outcomes).nonzero().flatten()
    images = {"row": kept, "x_adv": outcomes.x_adv[kept], "seconds": torch.tensor(seconds, dtype=torch.float64)}
    write_tensors(folder / CHUNKS / f"{number:05d}.safetensors", images)
    write_table(folder / CHUNKS / f"{number:05d}.parquet", outcomes.to_pandas())


def keeps_image(outcomes: Outcomes) -> torch.Tensor:
    """(N,) bool: rows whose x_adv is kept: the examples, and what the gallery may show (the largest eps)."""
    shown = outcomes.eps.isnan() | (outcomes.eps == outcomes.eps.max())
    return is_example(outcomes) | (shown & outcomes.clean_correct)


def is_example(outcomes: Outcomes) -> torch.Tensor:
    """(N,) bool: fooled by an image that this very attack run found at this eps; clean errors need no image."""
    return outcomes.fooled & outcomes.clean_correct & (outcomes.evidence == 0)


def read_chunks(folder: Path, count: int) -> Rows:
    """All `count` chunks as one cell: eps-major, samples in the order of the chunks."""
    tables, images = [], []
    for number in range(count):
        tables.append(read_table(folder / CHUNKS / f"{number:05d}.parquet"))
        images.append(read_tensors(folder / CHUNKS / f"{number:05d}.safetensors"))
    return _join(tables, images)


def _join(tables: Sequence[pd.DataFrame], images: Sequence[Mapping[str, torch.Tensor]]) -> Rows:
    """Each table is eps-major in itself; a stable sort by eps makes the whole so (nan, a lone grid, stays)."""
    joined = pd.concat(tables, ignore_index=True)
    order = joined["eps"].argsort(kind="stable").to_numpy()  # new position -> old position
    place = torch.empty(len(order), dtype=torch.int64)  # old position -> new position
    place[torch.from_numpy(order.copy())] = torch.arange(len(order))
    starts = [0, *pd.Series([len(table) for table in tables]).cumsum()]
    row = torch.cat([place[part["row"] + start] for part, start in zip(images, starts, strict=False)])
    by_row = row.argsort()
    x_adv = torch.cat([part["x_adv"] for part in images])
    seconds = sum(float(part["seconds"]) for part in images)
    return Rows(joined.iloc[order].reset_index(drop=True), row[by_row], x_adv[by_row], seconds)


def log(folder: Path, line: str) -> None:
    """Add a line to the log of a running cell."""
    path = folder / CHUNKS / LOG
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line.rstrip() + "\n")


def commit(
    folder: Path,
    rows: Rows,
    gallery: Mapping[str, torch.Tensor],
    record: Mapping[str, Json],
    explanations: pd.DataFrame | None = None,
) -> None:
    """Write the cell's files and then `cell.json` (`record` and the hashes of the files); drop the chunks."""
    outcomes = Outcomes.from_pandas(rows.table)
    example = is_example(outcomes)[rows.row]
    write_table(folder / TABLE, rows.table)
    write_tensors(folder / EXAMPLES, {"x_adv": rows.x_adv[example], "row": rows.row[example]})
    write_tensors(folder / GALLERY, gallery)
    if explanations is not None:
        write_table(folder / EXPLANATIONS, explanations)
    write_text(folder / LOG, (folder / CHUNKS / LOG).read_text(encoding="utf-8"))
    names = (TABLE, EXAMPLES, GALLERY, *([] if explanations is None else [EXPLANATIONS]), LOG)
    hashes = {name: file_hash(folder / name) for name in names}
    write_json(folder / CELL, {**record, "files": hashes})
    tidy(folder)


def tidy(folder: Path) -> None:
    """Remove from a finished cell what only an unfinished one needs; a run killed after its commit left it."""
    (folder / FAILURE).unlink(missing_ok=True)
    shutil.rmtree(folder / CHUNKS, ignore_errors=True)


def write_failure(folder: Path, error: str, traceback: str) -> None:
    """Leave a note of why the cell has no result. The chunks stay: the next run goes on from them."""
    write_json(folder / FAILURE, {"error": error, "traceback": traceback})
