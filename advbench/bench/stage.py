"""What a cell needs in memory: its model, its substitute, its data, its attack's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from advbench.attributions.explain import Explainer
from advbench.bench.cell_folder import folder_name
from advbench.bench.jobs import EnsembleRecipe, Job, Recipe, SubstituteRecipe
from advbench.bench.labels import with_settings
from advbench.bench.learned_images import learned_images
from advbench.bench.parameters import arguments
from advbench.bench.recipes import obtain
from advbench.bench.scene import Assault
from advbench.datasets.dataset import Dataset
from advbench.datasets.load import load_dataset
from advbench.registry import ATTACKS, ATTRIBUTIONS, CONTROLS
from advbench.store import read_json

Value = TypeVar("Value")
CHUNK = 256


@dataclass(frozen=True)
class Place:
    """Where and how cells are computed. results: the store; folder: the matrix in it. Nothing here changes a result."""

    results: Path
    folder: Path
    device: str
    micro_batch: int | None = None
    chunk: int = CHUNK
    bars: bool = False

    def of(self, job: Job) -> Path:
        """The folder of the job's cell."""
        return self.folder / folder_name(job.slug, job.cell.key)

    def samples_file(self, ids_hash: str) -> Path:
        """Where the list of sample ids with this hash is stored."""
        return self.results / "samples" / f"{ids_hash}.json"


@dataclass(frozen=True, eq=False)
class Stage:
    """Everything a cell needs in memory. ids (N,) int64: the samples, positions in the data."""

    model: nn.Module
    data: Dataset
    ids: Tensor
    assault: Assault


def set_stage(job: Job, place: Place) -> Stage:
    """Load everything; what the last cell shared with this one is still there."""
    model = load_model_of(job.recipe, place)
    substitute = None if job.substitute is None else load_model_of(job.substitute, place)
    data, ids = load_samples_of(job, place)
    entry = (CONTROLS if job.kind == "control" else ATTACKS)[job.attack.name]
    params = arguments(entry, job.attack.params, substitute) | learned_images(job.attack, job.data, job.cell.seed)
    return Stage(model, data, ids, Assault(entry, params, job.goal, job.cell.seed, job.grid == "nested", job.budget))


def explainers(job: Job) -> list[Explainer]:
    """The attributions that the job's matrix asks for, ready to be called."""
    return [
        Explainer(each.name, with_settings(each.name, each.params), arguments(ATTRIBUTIONS[each.name], each.params))
        for each in job.explain
    ]


def load_samples_of(job: Job, place: Place) -> tuple[Dataset, Tensor]:
    """The job's dataset and the ids (N,) of its samples in it."""
    stored = cast("Mapping[str, list[int]]", read_json(place.samples_file(str(job.cell.dataset["ids"]))))
    return _dataset(job), torch.tensor(stored["ids"], dtype=torch.int64)


def load_model_of(recipe: Recipe | SubstituteRecipe | EnsembleRecipe, place: Place) -> nn.Module:
    """The model of a recipe, in eval mode; the last two stay in memory for the next cell."""
    return _remembered(_MODELS, recipe, lambda: obtain(recipe, results=place.results, device=place.device), keep=2)


# Consecutive cells of a matrix share model and data; a process needs the last ones only.
_MODELS: list[tuple[object, nn.Module]] = []
_DATA: list[tuple[object, Dataset]] = []


def _dataset(job: Job) -> Dataset:
    choice = job.data
    root = None if choice.root is None else Path(choice.root)
    # The name has the content of files, which may have changed, and so may the code of a reader of the user's.
    known = (choice, job.cell.dataset["name"], job.cell.dataset.get("code"))
    return _remembered(
        _DATA, known, lambda: load_dataset(choice.name, choice.split, root=root, size=choice.size), keep=1
    )


def _remembered(memory: list[tuple[object, Value]], key: object, make: Callable[[], Value], *, keep: int) -> Value:
    for known, value in memory:
        if known == key:
            return value
    value = make()
    memory.insert(0, (key, value))
    del memory[keep:]
    return value
