"""Is a stored result still what it says? Hashes, the summary against the rows, the examples judged anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import pandas as pd
import torch
from torch import Tensor

from advbench.bench.cell_folder import CELL, EXAMPLES, TABLE, is_example, read_record
from advbench.bench.config import load_matrix
from advbench.bench.jobs import Job
from advbench.bench.judge import Verdict, judge
from advbench.bench.matrix import expand
from advbench.bench.obtaining import is_trained
from advbench.bench.recipes import WEIGHTS, model_folder
from advbench.bench.stage import Place, load_model_of, load_samples_of
from advbench.bench.status import MATRIX, cell_states, matrix_folders
from advbench.bench.summary import LATER, NOTES, summarise
from advbench.store import UnreadableError, file_hash, read_json, read_table, read_tensors
from advbench.types import ConfigError, Json, Outcomes, ThreatModel, content_key, norm_name

# What another batch size or another machine may change in a distance or a margin.
TOLERANCE = 1e-4


class Finding(NamedTuple):
    """Something about the cell in `folder`. wrong: a stored result is not to be trusted; else it was not checked."""

    folder: Path
    message: str
    wrong: bool


def verify(path: Path, *, device: str = "cpu", allow_code: bool = False) -> Iterator[Finding]:
    """Check every finished cell under `path` (a results folder, or that of one matrix); nothing found is good.

    Examples are judged anew by the model if the matrix file and the weights are still there; nothing is trained.
    """
    for folder in matrix_folders(path):
        states = cell_states(folder)
        jobs, why_not = _jobs(folder, allow_code)
        place = Place(folder.parent, folder, device)
        for state in states:
            if state.status not in ("done", "damaged"):
                continue
            problems = list(_contents(state.folder))
            yield from (Finding(state.folder, problem, True) for problem in problems)
            if problems:
                continue
            job = jobs.get(state.key)
            reason = why_not if job is None else _unavailable(job, place)
            if job is None or reason:
                yield Finding(state.folder, f"examples not judged anew: {reason}", False)
            else:
                yield from (Finding(state.folder, problem, True) for problem in _examples(job, place))


def _contents(folder: Path) -> Iterator[str]:
    """What is wrong with the files by themselves. What is not the file that was stored is not looked into as well."""
    try:
        record = read_record(folder)
        changed = _changed(folder, cast("Mapping[str, str]", record["files"]))
        yield from (f"{name} {problem}" for name, problem in changed.items())
        if content_key(record["spec"]) != record["key"] or str(record["key"])[:8] != folder.name[-8:]:
            yield f"{CELL}: the key does not belong to this cell"
        if TABLE in changed:
            return
        table = read_table(folder / TABLE)
        yield from _summary(record, table)
        if EXAMPLES not in changed:
            yield from _example_rows(folder, table)
    except UnreadableError as error:
        yield f"{error.path.name} cannot be read: {error.reason}"
    except (KeyError, TypeError, ValueError, OSError) as error:
        yield f"cannot be read: {type(error).__name__}: {error}"


def _changed(folder: Path, hashes: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with each file that is not as its hash says, by name."""
    found = {}
    for name, expected in hashes.items():
        if not (folder / name).is_file():
            found[name] = "is missing"
        elif file_hash(folder / name) != expected:
            found[name] = "is not the file that was stored"
    return found


def _summary(record: Mapping[str, Json], table: pd.DataFrame) -> Iterator[str]:
    labels = cast("Mapping[str, str]", record["labels"])
    eps = cast("list[str] | None", record["eps"])
    derived = summarise(table, labels=labels, eps=eps, seconds=cast("float", record["seconds"]))
    stored = cast("list[Mapping[str, Json]]", record["summary"])
    if len(stored) != len(derived):
        yield f"{CELL}: the summary has {len(stored)} rows, the samples give {len(derived)}"
    for mine, theirs in zip(derived, stored, strict=False):
        # What older results lack cannot be wrong in them.
        asked = [name for name in mine if name in theirs or name not in (*LATER, *NOTES)]
        wrong = [name for name in asked if mine[name] != theirs.get(name)]
        if wrong:
            yield f"{CELL}: at eps {mine['eps']} the samples do not give the stored {', '.join(wrong)}"


def _example_rows(folder: Path, table: pd.DataFrame) -> Iterator[str]:
    """Every example found by the run is stored, and no other."""
    expected = is_example(Outcomes.from_pandas(table)).nonzero().flatten()
    stored = read_tensors(folder / EXAMPLES)
    if not torch.equal(stored["row"], expected) or len(stored["x_adv"]) != len(expected):
        yield f"{EXAMPLES} does not hold the examples that {TABLE} speaks of"


def _jobs(folder: Path, allow_code: bool) -> tuple[Mapping[str, Job], str]:
    """The jobs of the matrix file by key, or none and why; for cells that the file no longer has, the second holds."""
    stored = cast("Mapping[str, Json]", read_json(folder / MATRIX))
    try:
        file = Path(str(stored["file"])).expanduser()
        data = cast("Mapping[str, Json]", stored["data"])
        count, choose = cast("int", data["count"]), cast("str", data["choose"])
    except (KeyError, TypeError) as error:
        return {}, f"{folder / MATRIX} does not say what was planned ({type(error).__name__}: {error})"
    if not file.is_file():
        return {}, f"the matrix file {file} is gone"
    try:
        matrix = load_matrix(file, allow_code=allow_code)
        plan = expand(matrix if choose == "all" else replace(matrix, data=replace(matrix.data, count=count)))
    except ConfigError as error:
        return {}, f"the matrix file does not load: {error}"
    return {job.cell.key: job for job in plan.jobs}, f"{file} has changed and no longer has this cell"


def _unavailable(job: Job, place: Place) -> str:
    """Why the model cannot be had without training, or ""."""
    if is_trained(job.recipe) and not (model_folder(job.recipe, place.results) / WEIGHTS).is_file():
        return "the trained weights are gone"
    if not place.samples_file(str(job.cell.dataset["ids"])).is_file():
        return "the list of samples is gone"
    return ""


def _examples(job: Job, place: Place) -> Iterator[str]:
    """Judge the stored examples again and compare with their rows."""
    folder = place.of(job)
    stored = read_tensors(folder / EXAMPLES)
    table = read_table(folder / TABLE).iloc[stored["row"].numpy()]
    data, _ = load_samples_of(job, place)
    model = load_model_of(job.recipe, place)
    for _, rows in table.groupby("eps", dropna=False):
        part = torch.from_numpy(table.index.isin(rows.index))
        ids = torch.tensor(rows["sample_id"].to_numpy())
        eps = float(rows["eps"].iloc[0])
        verdict = judge(
            model,
            data.images(ids).to(place.device),
            stored["x_adv"][part].to(place.device),
            label=torch.tensor(rows["label"].to_numpy()).to(place.device),
            target=torch.tensor(rows["target"].to_numpy()).to(place.device),
            threat=ThreatModel(job.threat.norm, None if math.isnan(eps) else eps),
        )
        for name, differs in _differences(verdict, rows, job.threat.norm).items():
            if differs.any():
                first = int(ids[differs.nonzero()[0, 0]])
                yield f"{int(differs.sum())} examples at eps {eps:g} differ in {name}, the first is sample {first}"


def _differences(verdict: Verdict, rows: pd.DataFrame, norm: float) -> Mapping[str, Tensor]:
    """Per claim of the table, which examples (M,) bool do not bear it out. A prediction on a tie may go either way."""
    column = {name: torch.tensor(rows[name].to_numpy()) for name in ("adv_pred", "margin_adv", norm_name(norm))}
    distance = verdict.distances[norm].cpu() - column[norm_name(norm)]
    tie = column["margin_adv"].abs() <= TOLERANCE
    return {
        "being finite, in the box or in the ball": ~(verdict.in_ball & verdict.in_box).cpu(),
        "distance": distance.abs() > TOLERANCE * column[norm_name(norm)].clamp_min(1.0),
        "prediction": (verdict.adv_pred.cpu() != column["adv_pred"]) & ~tie,
        "success": ~verdict.reached.cpu() & ~tie,
    }
