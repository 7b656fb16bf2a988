"""One cell, from its job to its folder: model and data, chunk after chunk, then the commit."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor
from tqdm import tqdm

from advbench.bench import interrupts
from advbench.bench.cell_folder import (
    EXPLANATIONS,
    REPAIR,
    BusyError,
    Cut,
    chunks_done,
    commit,
    is_done,
    locked,
    log,
    open_chunks,
    pin,
    read_chunks,
    read_record,
    summary_of,
    tidy,
    write_chunk,
    write_failure,
)
from advbench.bench.evaluate import evaluate_grid
from advbench.bench.gallery import gallery
from advbench.bench.jobs import Job
from advbench.bench.provenance import provenance
from advbench.bench.recipes import transfer_facts
from advbench.bench.scene import Execution
from advbench.bench.stability import stability
from advbench.bench.stage import Place, Stage, explainers, set_stage
from advbench.bench.summary import summarise
from advbench.models.check import check_model
from advbench.models.predict import exact_float32
from advbench.models.prepare import Precision, prepare
from advbench.store import StoreError, UnreadableError
from advbench.types import Json, Outcomes, ThreatModel


@dataclass(frozen=True)
class Finished:
    """What became of a cell. stored: a result was there already; busy: another run is at work on it.

    unexplained: attributions that the matrix asks for now and did not when the stored result was computed.
    """

    folder: Path
    labels: Mapping[str, str]
    status: Literal["done", "stored", "failed", "busy"]
    summary: tuple[Mapping[str, Json], ...] = ()
    seconds: float = 0.0
    error: str = ""
    unexplained: tuple[str, ...] = ()


def run_cell(job: Job, *, place: Place) -> Finished:
    """Compute the cell if its folder holds no result; whatever goes wrong in it is its own failure.

    A cell that was interrupted goes on at its first missing chunk. A cell that another run holds is left to it.
    Raises Interrupted, and StoreError because that is no matter of this cell alone.
    """
    folder = place.of(job)
    try:
        with locked(folder):
            if is_done(folder):
                return stored(job, place)
            return _compute(job, folder, place)
    except BusyError:
        return Finished(folder, job.labels, "busy")
    except StoreError:
        raise
    except UnreadableError as error:
        # Its own chunks, or else a list of samples, weights: another folder's.
        return fail(job, place, f"{error}; {REPAIR}" if folder in error.path.parents else str(error))
    except Exception as error:
        return fail(job, place, f"{type(error).__name__}: {error}", traceback.format_exc())


def fail(job: Job, place: Place, error: str, trace: str = "") -> Finished:
    """Note in the cell's folder that it failed, and why."""
    write_failure(place.of(job), error, trace)
    return Finished(place.of(job), job.labels, "failed", error=error)


def stored(job: Job, place: Place) -> Finished:
    """The cell that the folder holds already; failed if its record is damaged, and then nothing in it is touched."""
    folder = place.of(job)
    try:
        record = read_record(folder)
    except UnreadableError as error:
        return Finished(folder, job.labels, "failed", error=f"{error}; {REPAIR}")
    tidy(folder)
    asked = [each.label for each in explainers(job)]
    known = record.get("explain", [] if not (folder / EXPLANATIONS).exists() else cast("list[Json]", asked))
    missing = tuple(label for label in asked if label not in cast("list[str]", known))
    return Finished(folder, job.labels, "stored", summary_of(record), unexplained=missing)


def _compute(job: Job, folder: Path, place: Place) -> Finished:
    started = datetime.now(UTC)
    log(folder, f"{started.isoformat(timespec='seconds')} {job.slug}")
    with interrupts.at_once():
        stage = set_stage(job, place)
        first = stage.data.images(stage.ids[: place.chunk])
        check_model(stage.model, first[:8].to(place.device), len(stage.data.classes))
        # One perturbation for all samples is learned from all of them at once.
        size = max(len(stage.ids), 1) if stage.assault.entry.info.together else place.chunk
        cut = open_chunks(folder, Cut(size, len(stage.ids), _micro_batch(place, stage, first)))
    with exact_float32():
        cut = _run_chunks(job, folder, place, stage, cut)
        rows = read_chunks(folder, -(-len(stage.ids) // cut.chunk))
        largest = None if job.threat.eps is None else float(job.threat.eps[-1])
        execution = Execution(place.device, micro_batch=cut.micro_batch)
        threat = ThreatModel(job.threat.norm, largest)
        asked = explainers(job)
        shown = gallery(stage, rows, threat=threat, explain=asked, execution=execution)
        survived = stability(stage, rows, explain=asked, execution=execution) if asked else None
        circumstances = provenance(place.device, started=started) | {"micro_batch": cut.micro_batch}
    eps = None if job.threat.eps is None else [str(radius) for radius in job.threat.eps]
    summary = summarise(rows.table, labels=job.labels, eps=eps, seconds=rows.seconds)
    log(folder, f"done: {len(rows.table)} rows in {rows.seconds:.1f} s")
    record: dict[str, Json] = {
        "schema": 1,
        "key": job.cell.key,
        "spec": job.cell.spec(),
        "labels": dict(job.labels),
        "kind": job.kind,
        "eps": cast("Json", eps),
        "summary": cast("Json", summary),
        "provenance": circumstances,
        "seconds": rows.seconds,
        "explain": [each.label for each in asked],
        "classes": list(stage.data.classes),
        "substitute": None if job.substitute is None else transfer_facts(job.substitute, results=place.results),
    }
    commit(folder, rows, shown, record, survived)
    return Finished(folder, job.labels, "done", tuple(summary), rows.seconds)


def _micro_batch(place: Place, stage: Stage, x: Tensor) -> int:
    """Found once per cell and stored: a resumed cell must cut its batches as before."""
    return place.micro_batch or prepare(stage.model, x.to(place.device)).micro_batch


def _run_chunks(job: Job, folder: Path, place: Place, stage: Stage, cut: Cut) -> Cut:
    """Compute the chunks that are missing, each stored before the next begins."""
    parts = torch.split(stage.ids, cut.chunk)
    done = set(chunks_done(folder))
    missing = [number for number in range(len(parts)) if number not in done]
    log(folder, f"{len(missing)} of {len(parts)} chunks to do, micro-batch {cut.micro_batch}")
    held, seen = 0, 0
    with tqdm(missing, unit="chunk", leave=False, disable=not place.bars, position=1) as bar:
        for number in bar:
            interrupts.check()
            begin = time.perf_counter()
            outcomes, size = _attempt(job, place, stage, parts[number], cut.micro_batch)
            if size != cut.micro_batch:
                cut = replace(cut, micro_batch=size)
                pin(folder, cut)
                log(folder, f"out of memory: the micro-batch is {size} from here on")
            seconds = time.perf_counter() - begin
            write_chunk(folder, number, outcomes, seconds)
            log(folder, f"chunk {number}: {seconds:.2f} s")
            held, seen = held + _held(outcomes, len(parts[number])), seen + len(parts[number])
            bar.set_postfix_str(f"robust {held / seen:.1%}")
    return cut


def _held(outcomes: Outcomes, samples: int) -> int:
    """How many held at the largest eps: the last rows, as the grid increases."""
    return int((outcomes.clean_correct & ~outcomes.fooled)[-samples:].sum())


def _attempt(job: Job, place: Place, stage: Stage, ids: Tensor, micro_batch: int | None) -> tuple[Outcomes, int]:
    """The rows of one chunk and the micro-batch that they took: halved as often as memory ran out, down to 1."""
    x, y = stage.data.images(ids), stage.data.labels[ids]
    size = micro_batch or len(ids)
    while True:
        try:
            outcomes = evaluate_grid(
                stage.model,
                x,
                y,
                ids,
                assault=stage.assault,
                norm=job.threat.norm,
                grid=job.threat.eps,
                execution=Execution(place.device, cast("Precision", job.precision), size),
            )
            return outcomes, size
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or size == 1:
                raise
        # Outside the handler: the traceback would keep the tensors of the failed attempt alive.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = max(1, min(size, len(ids)) // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Did memory run out, on whichever device?"""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in words or "can't allocate memory" in words
