"""Which samples an evaluation uses: decided by a seed, named by a hash."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advbench.datasets.dataset import Dataset
from advbench.types import ConfigError, content_key

Choose = Literal["stratified", "first", "all"]


def select(dataset: Dataset, count: int | None, seed: int, choose: Choose = "stratified") -> Tensor:
    """Sample ids (count,) int64, increasing. count None takes all.

    stratified: as equal as possible per class, drawn by `seed`; a smaller count gives a subset of a larger one.
    first: ids 0..count-1. all: every id, whatever the count. Raises ConfigError if there are not `count` samples.
    """
    if choose not in ("stratified", "first", "all"):
        raise ConfigError(f"choose must be stratified, first or all, got {choose!r}")
    if count is None or choose == "all":
        return torch.arange(len(dataset))
    if not 1 <= count <= len(dataset):
        raise ConfigError(f"{dataset.name} {dataset.split} has {len(dataset)} samples, {count} were asked for")
    if choose == "first":
        return torch.arange(count)
    return torch.from_numpy(stratified(dataset.labels.numpy(), count, seed))


def stratified(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Positions (count,) of labels (N,), increasing: every class shuffled by `seed`, then dealt in turn.

    Only the raw words of PCG64 are used: numpy promises those to stay the same in every version.
    """
    keys = np.random.PCG64(seed).random_raw(len(labels))  # (N,)
    by_class = np.lexsort((keys, labels))
    sizes = np.unique(labels, return_counts=True)[1]
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_class] = np.concatenate([np.arange(size) for size in sizes])  # rank of a sample within its class
    return np.sort(np.lexsort((keys, turn))[:count])


def ids_hash(dataset: str, split: str, ids: Tensor) -> str:
    """SHA-256 (hex) of the dataset's name, the split and the ordered sample ids."""
    return content_key({"dataset": dataset, "split": split, "ids": ids.tolist()})
