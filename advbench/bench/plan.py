"""A plan in words: cells and their state, skips and why, trainings, cost, and what the sample size can show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal, get_args

from advbench.bench.cell_folder import REPAIR, damage, folder_name, is_done
from advbench.bench.cost import passes
from advbench.bench.jobs import Job, Plan, Recipe, SubstituteRecipe, members_of
from advbench.bench.recipes import WEIGHTS, model_folder
from advbench.types import Json

State = Literal["done", "damaged", "missing"]
DISCORDANCE = (0.05, 0.20)  # shares of samples on which two models differ: similar models, different models


@dataclass(frozen=True)
class PlannedTraining:
    """A model that must exist before cells can run. done: its weights are stored."""

    label: str
    key: str
    done: bool


def describe(plan: Plan, results: Path) -> str:
    """The plan as text to read. results: the store, to tell what is done."""
    matrix, states = plan.matrix, [_state(plan, job, results) for job in plan.jobs]
    counts = [f"{states.count(state)} {state}" for state in get_args(State) if state != "damaged" or state in states]
    data = matrix.data
    lines = [
        matrix.question,
        "",
        f"{matrix.path}: {data.name} {data.split}, {len(plan.sample_ids)} samples, seed {matrix.seed}",
        f"cells: {len(plan.jobs)} ({', '.join(counts)}), skips: {len(plan.skips)}",
        "",
        *_aligned([("model", "defense", "attack", "goal", "norm", "eps", "state", "passes")], _rows(plan.jobs, states)),
    ]
    if plan.skips:
        lines += ["", "Skips", *_aligned([], [(_where(skip.labels), skip.reason) for skip in plan.skips])]
    if "damaged" in states:
        told = zip(plan.jobs, states, strict=True)
        lines += ["", f"Damaged: {REPAIR}"]
        lines += [damage(_folder(plan, job, results)) for job, state in told if state == "damaged"]
    planned = trainings(plan, results)
    if planned:
        rows = [(each.label, each.key[:8], "done" if each.done else "missing") for each in planned]
        lines += ["", "Trainings", *_aligned([], rows)]
    return "\n".join([*lines, "", *_costs(plan, states)])


def as_json(plan: Plan, results: Path) -> dict[str, Json]:
    """The plan for programs. Costs are passes of single samples, differences are shares in [0, 1]."""
    matrix = plan.matrix
    cells: list[Json] = [_cell_json(job, _state(plan, job, results)) for job in plan.jobs]
    return {
        "schema": 1,
        "question": matrix.question,
        "file": str(matrix.path),
        "samples": len(plan.sample_ids),
        "cells": cells,
        "skips": [{"labels": dict(skip.labels), "reason": skip.reason} for skip in plan.skips],
        "trainings": [{"label": it.label, "key": it.key, "done": it.done} for it in trainings(plan, results)],
        "resolvable_difference": {
            str(share): resolvable_difference(len(plan.sample_ids), share) for share in DISCORDANCE
        },
    }


def resolvable_difference(n: int, discordance: float) -> float | None:
    """The smallest difference in robust accuracy between two models that n common samples show; a share.

    Two-sided test at 5 %, 80 % power, paired; `discordance`: the share of samples on which the two differ. None if
    even samples that all speak for one model would not do. Connor 1987, Biometrics 43, solved for the difference.
    """
    alpha, power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)
    inside = n + power**2 - alpha**2
    if inside < 0:
        return None
    found = math.sqrt(discordance) * (alpha * math.sqrt(n) + power * math.sqrt(inside)) / (n + power**2)
    return found if found <= discordance else None


def trainings(plan: Plan, results: Path) -> list[PlannedTraining]:
    """Every model that the plan trains, once, in the order in which cells ask for it."""
    wanted: dict[str, PlannedTraining] = {}
    for job in plan.jobs:
        for recipe in _recipes(job):
            done = (model_folder(recipe, results) / WEIGHTS).is_file()
            wanted.setdefault(recipe.key, PlannedTraining(_name(recipe), recipe.key, done))
    return list(wanted.values())


def _recipes(job: Job) -> Iterator[Recipe | SubstituteRecipe]:
    for recipe in (job.recipe, *members_of(job.substitute)):
        if isinstance(recipe, SubstituteRecipe) or recipe.training is not None:
            yield recipe


def _name(recipe: Recipe | SubstituteRecipe) -> str:
    if isinstance(recipe, SubstituteRecipe):
        return f"{recipe.student.label} from the labels of {recipe.victim.label}"
    return recipe.label


def _folder(plan: Plan, job: Job, results: Path) -> Path:
    return results / plan.matrix.name / folder_name(job.slug, job.cell.key)


def _state(plan: Plan, job: Job, results: Path) -> State:
    """What a run makes of the cell: a damaged one it leaves alone."""
    folder = _folder(plan, job, results)
    if not is_done(folder):
        return "missing"
    return "damaged" if damage(folder) else "done"


def _cell_json(job: Job, state: State) -> dict[str, Json]:
    return {
        "key": job.cell.key,
        "folder": folder_name(job.slug, job.cell.key),
        "labels": dict(job.labels),
        "kind": job.kind,
        "eps": _eps(job),
        "done": state == "done",
        "damaged": state == "damaged",
        "passes": passes(job),
    }


def _eps(job: Job) -> list[Json] | None:
    return None if job.threat.eps is None else [str(radius) for radius in job.threat.eps]


def _rows(jobs: Sequence[Job], states: Sequence[State]) -> list[tuple[str, ...]]:
    return [
        (
            *(job.labels[name] for name in ("model", "defense", "attack", "goal", "norm")),
            "nearest" if job.threat.eps is None else " ".join(map(str, job.threat.eps)),
            state,
            f"{passes(job):,}",
        )
        for job, state in zip(jobs, states, strict=True)
    ]


def _where(labels: Mapping[str, str]) -> str:
    return " / ".join(labels.values())


def _costs(plan: Plan, states: Sequence[State]) -> Iterator[str]:
    left = sum(passes(job) for job, state in zip(plan.jobs, states, strict=True) if state == "missing")
    yield (
        f"Cost: at most {left:,} forward and backward passes of one sample for the missing cells "
        "(samples x steps x restarts x eps), trainings not counted."
    )
    n = len(plan.sample_ids)
    for share in DISCORDANCE:
        found = resolvable_difference(n, share)
        size = "nothing" if found is None else f"{100 * found:.1f} points"
        yield (
            f"Smallest difference between two models that {n} samples resolve, if they differ on {share:.0%} of them: "
            f"{size} (paired, two-sided 5 %, 80 % power)."
        )


def _aligned(head: Sequence[tuple[str, ...]], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of columns, two blanks apart. Control characters of names are not printed."""
    table = [tuple(_printable(text) for text in row) for row in (*head, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
