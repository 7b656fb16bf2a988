"""A matrix from its file to its results folder: what is missing is computed, what fails is noted, the rest goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from tqdm import tqdm

from advbench.bench import interrupts
from advbench.bench.cell_folder import folder_name, is_done
from advbench.bench.config import Matrix, load_matrix
from advbench.bench.engines import ENGINES, Engine
from advbench.bench.jobs import Job, Plan
from advbench.bench.matrix import expand
from advbench.bench.net_pictures import make_pictures
from advbench.bench.obtaining import obtain_models
from advbench.bench.progress import ended_line, robust_so_far
from advbench.bench.provenance import without_home
from advbench.bench.room import bytes_needed
from advbench.bench.run_cell import Finished, fail, run_cell, stored
from advbench.bench.selection import select_jobs
from advbench.bench.stage import CHUNK, Place
from advbench.bench.status import MATRIX
from advbench.core.call_checks import check_count, check_value
from advbench.core.devices import choose_device
from advbench.names import nearest
from advbench.store import StoreError, UnreadableError, check_room, read_json, sole_writer, write_json
from advbench.types import ConfigError, Json

__all__ = ["Finished", "Place", "Tally", "run", "run_cell"]

DIED = "its process died: killed, out of memory, or crashed"


@dataclass(frozen=True)
class Tally:
    """What a run came to. selected: cells asked for; signum: the signal that ended it early, or 0; reason: why none.

    blocked: the disk was full or closed, so that the run had to end.
    """

    folder: Path
    selected: int
    cells: tuple[Finished, ...]
    signum: int = 0
    reason: str = ""
    blocked: bool = False

    @property
    def failed(self) -> tuple[Finished, ...]:
        return tuple(cell for cell in self.cells if cell.status == "failed")

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some cells are not, 2 nowhere to store, 3 nothing selected, 130 / 143 interrupted."""
        if self.signum:
            return 128 + self.signum
        if self.blocked:
            return 2
        if not self.selected:
            return 3
        whole = [cell for cell in self.cells if cell.status in ("done", "stored")]
        return 0 if len(whole) == self.selected else 1


def run(
    matrix: Path | str,
    *,
    results: Path | str = "results",
    device: str = "auto",
    workers: int = 1,
    engine: str = "local",
    only: str | None = None,
    samples: int | None = None,
    allow_code: bool = False,
    micro_batch: int | None = None,
    chunk: int = CHUNK,
) -> Tally:
    """Compute every cell of the matrix file that has no stored result, and say on the terminal how it goes.

    workers > 1: as many spawned processes. engine: local or ray. only: see `select_jobs`. samples: instead of the
    matrix's count. chunk: samples between two saves. Raises ConfigError before any work on what cannot be.
    """
    check_value("matrix", matrix, Path)
    check_value("results", results, Path)
    check_value("only", only, str | None)
    for name, number in (("workers", workers), ("samples", samples), ("micro-batch", micro_batch), ("chunk", chunk)):
        check_count(name, number)
    if engine not in ENGINES:
        raise ConfigError(f"no engine {engine!r}; {nearest(engine, list(ENGINES))}there are: {', '.join(ENGINES)}")
    target, store = choose_device(device), Path(results).resolve()
    plan = expand(_with_count(load_matrix(matrix, allow_code=allow_code), samples))
    jobs = select_jobs(plan.jobs, only)
    bars = sys.stderr.isatty()
    place = Place(store, store / plan.matrix.name, target, micro_batch, chunk, bars and workers == 1)
    if not jobs:
        reason = f"no cell matches {only!r}" if plan.jobs else "; ".join(skip.reason for skip in plan.skips)
        return Tally(place.folder, 0, (), reason=reason)
    check_room(store, bytes_needed([job for job in jobs if not is_done(place.of(job))], workers))
    cells: list[Finished] = []
    with interrupts.listening():
        try:
            _write_plan(plan, place)
            for finished in _run_jobs(jobs, place, ENGINES[engine](workers, target), bars):
                cells.append(finished)
            make_pictures(jobs, plan.matrix.pictures, place)
        except interrupts.Interrupted as interrupt:
            return Tally(place.folder, len(jobs), tuple(cells), interrupt.signum)
        except StoreError as error:
            print(f"Error: {error}", file=sys.stderr)
            return Tally(place.folder, len(jobs), tuple(cells), blocked=True)
    return Tally(place.folder, len(jobs), tuple(cells))


def _with_count(matrix: Matrix, count: int | None) -> Matrix:
    if count is None:
        return matrix
    choose = "stratified" if matrix.data.choose == "all" else matrix.data.choose
    return replace(matrix, data=replace(matrix.data, count=count, choose=choose))


def _write_plan(plan: Plan, place: Place) -> None:
    """Store what the run is about before it begins: a report can then show what is missing."""
    matrix = plan.matrix
    cells: list[Json] = [
        {
            "key": job.cell.key,
            "folder": folder_name(job.slug, job.cell.key),
            "labels": dict(job.labels),
            "kind": job.kind,
            "eps": None if job.threat.eps is None else [str(radius) for radius in job.threat.eps],
        }
        for job in plan.jobs
    ]
    data = asdict(matrix.data) | {"count": len(plan.sample_ids)}
    content: dict[str, Json] = {
        "schema": 1,
        "question": matrix.question,
        "file": without_home(str(matrix.path.resolve())),
        "seed": matrix.seed,
        "data": {name: without_home(value) if isinstance(value, str) else value for name, value in data.items()},
        "cells": cells,
        "skips": [{"labels": dict(skip.labels), "reason": skip.reason} for skip in plan.skips],
    }
    with sole_writer(place.folder):
        _tell_of_another(place.folder / MATRIX, str(content["file"]))
        write_json(place.folder / MATRIX, content)
    for job in plan.jobs[:1]:
        dataset = job.cell.dataset
        listed = {"dataset": dataset["name"], "split": dataset["split"], "ids": list(plan.sample_ids)}
        file = place.samples_file(str(dataset["ids"]))
        with sole_writer(file.parent):
            write_json(file, cast("Json", listed))


def _tell_of_another(plan: Path, file: str) -> None:
    """Two files of one name share a folder: their cells do not get in each other's way, but one plan is shown."""
    try:
        stored = read_json(plan) if plan.is_file() else {}
    except UnreadableError:
        return  # written anew
    before = stored.get("file", file) if isinstance(stored, dict) else file
    if before != file:
        _tell(
            f"{plan.parent} held the matrix {before}: its cells stay, but status and reports show {file} now; to keep "
            "both in view, rename one of the two or give another --results"
        )


def _run_jobs(jobs: Sequence[Job], place: Place, engine: Engine, bars: bool) -> Iterator[Finished]:
    """Every job as it ends; first those that are stored already, then those whose model could not be had."""
    todo: list[Job] = []
    whole: list[Finished] = []
    for job in jobs:
        if not is_done(place.of(job)):
            todo.append(job)
            continue
        found = stored(job, place)
        if found.status == "stored":
            whole.append(found)
        else:
            _tell(ended_line(found))
        yield found
    if whole:
        _tell(f"{len(whole)} of {len(jobs)} cells are stored already")
    if lacking := [found for found in whole if found.unexplained]:
        names = ", ".join(dict.fromkeys(name for found in lacking for name in found.unexplained))
        _tell(f"{len(lacking)} of them were computed without explain: {names}; delete their folders to have these made")
    with tqdm(total=len(todo), unit="cell", disable=not bars) as bar:
        for finished in _compute(todo, place, engine):
            _tell(ended_line(finished))
            bar.update()
            bar.set_postfix_str(robust_so_far(finished))
            yield finished


def _compute(todo: Sequence[Job], place: Place, engine: Engine) -> Iterator[Finished]:
    """The missing cells as they end; those that another run holds come last, when it has let go of them."""
    lost = obtain_models(todo, place)
    for job, error, trace in lost:
        yield fail(job, place, error, trace)
    unable = {job.cell.key for job, _, _ in lost}
    cell, busy = partial(run_cell, place=place), []
    for job, result in engine([job for job in todo if job.cell.key not in unable], cell):
        finished = result or fail(job, place, DIED)
        if finished.status == "busy":
            busy.append(job)
        else:
            yield finished
    for job in busy:
        while (finished := cell(job)).status == "busy":
            interrupts.check()
            time.sleep(0.5)
        yield finished


def _tell(line: str) -> None:
    """A line above the progress bar, at once: a pipe or a log would get it with all others at the end."""
    tqdm.write(line)
    sys.stdout.flush()
