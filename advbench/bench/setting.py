"""What all cells of a matrix share, read from its data once: labels and sizes, no images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advbench.bench.code_keys import own_code
from advbench.bench.config import Matrix
from advbench.bench.data_entries import content_of_spec
from advbench.bench.learned_images import check_images
from advbench.bench.yaml_loader import naming
from advbench.datasets.dataset import Dataset
from advbench.datasets.load import load_dataset
from advbench.datasets.select import ids_hash, select
from advbench.registry import DATASETS
from advbench.types import ConfigError, Json, norm_name


@dataclass(frozen=True)
class Setting:
    """The samples of a matrix and what its models are trained on.

    dataset: as in a cell (name, split, count, hash of the ids; no paths). train: the spec to train on, or None if the
    data has no training part. sample_ids: increasing positions in the split.
    """

    matrix: Matrix
    shape: tuple[int, int, int]
    classes: int
    sample_ids: tuple[int, ...]
    dataset: Mapping[str, Json]
    train: str | None
    train_content: Mapping[str, Json]


def read_setting(matrix: Matrix) -> Setting:
    """Choose the samples of `matrix`. Raises ConfigError if the data cannot give them, or if a radius or a goal class
    does not exist there."""
    data = matrix.data
    root = None if data.root is None else Path(data.root)
    place = f"{matrix.path}:{matrix.data_line}: data"
    with naming(place):
        dataset = load_dataset(data.name, data.split, root=root, size=data.size)
        ids = select(dataset, data.count, matrix.seed, data.choose)
    if data.train is not None:
        with naming(f"{place}.train"):
            _check_training_part(dataset, load_dataset(data.train, "train", root=root, size=data.size))
    size: dict[str, Json] = {} if data.size is None else {"size": data.size}
    train = data.train or (data.name if _has_training_part(data.name) else None)
    setting = Setting(
        matrix=matrix,
        shape=dataset.shape,
        classes=len(dataset.classes),
        sample_ids=tuple(ids.tolist()),
        dataset={
            "name": dataset.name,
            "split": data.split,
            "count": len(ids),
            "ids": ids_hash(dataset.name, data.split, ids),
            **own_code(DATASETS[data.name.partition(":")[0]]),
            **size,
        },
        train=train,
        train_content={} if train is None else {"name": content_of_spec(train, "train"), "split": "train", **size},
    )
    _check_radii(setting)
    _check_goals(setting)
    for choice in (*matrix.attacks, *matrix.controls):
        check_images(choice, data, setting.shape, f"{matrix.path}:{choice.line}: {choice.name}")
    return setting


def _check_training_part(dataset: Dataset, train: Dataset) -> None:
    """Raise ConfigError if what models are trained on is of another shape than what they are attacked on."""
    if train.shape != dataset.shape:
        raise ConfigError(f"its images are {train.shape}, those of the data {dataset.shape}")
    if int(train.labels.max()) >= len(dataset.classes):
        raise ConfigError(
            f"its labels go to {int(train.labels.max())}, the classes of the data are 0 .. {len(dataset.classes) - 1}"
        )


def _has_training_part(spec: str) -> bool:
    """A registered name has one; a user's own files do if they come per split: {split} in the path, or sub-folders."""
    _, colon, path = spec.partition(":")
    return not colon or "{split}" in path or Path(path, "train").is_dir()


def _check_radii(setting: Setting) -> None:
    components = math.prod(setting.shape)
    for threat in setting.matrix.threats:
        # The longest way across the box [0, 1]^D.
        longest = 1.0 if threat.norm == math.inf else components if threat.norm < 2 else math.sqrt(components)
        for radius in threat.eps or ():
            if float(radius) > longest:
                raise ConfigError(
                    f"{setting.matrix.path}:{threat.line}: eps {radius} in {norm_name(threat.norm)} is larger than the "
                    f"box of these images, {longest:g} across"
                )


def _check_goals(setting: Setting) -> None:
    for choice in (*setting.matrix.attacks, *setting.matrix.controls):
        if choice.goal.isdigit() and int(choice.goal) >= setting.classes:
            raise ConfigError(
                f"{setting.matrix.path}:{choice.line}: {choice.name} has the goal {choice.goal}, but the classes are "
                f"0 to {setting.classes - 1}"
            )
