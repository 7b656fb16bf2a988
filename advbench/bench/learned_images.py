"""The images that an attack learns on where a matrix names them: `images: {name: digits, split: train, count: 200}`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from advbench.bench.jobs import Choice, DataChoice
from advbench.datasets.dataset import Dataset
from advbench.datasets.load import load_dataset
from advbench.datasets.select import Choose, select
from advbench.types import ConfigError, Json


def check_images(choice: Choice, data: DataChoice, shape: tuple[int, int, int], place: str) -> None:
    """Raise ConfigError if there are no such images, they are not of `shape`, or the goal says no class for them."""
    images = choice.params.get("images")
    if images is None:
        return
    if choice.goal != "untargeted" and not choice.goal.isdigit():
        raise ConfigError(
            f"{place} learns on images whose class {choice.goal!r} is not known; the goal must be a class"
        )
    try:
        source = _dataset(images, data)
        _ids(source, images, 0)
    except ConfigError as error:
        raise ConfigError(f"{place}: images: {error}") from None
    if source.shape != shape:
        raise ConfigError(f"{place}: images are {source.shape}, those of the data {shape}")


def learned_images(choice: Choice, data: DataChoice, seed: int) -> dict[str, object]:
    """`images` (N, C, H, W) of an attack that names them, and what they are to reach if the goal is a class, as
    arguments; nothing for other attacks."""
    images = choice.params.get("images")
    if images is None:
        return {}
    source = _dataset(images, data)
    x = source.images(_ids(source, images, seed))
    if not choice.goal.isdigit():
        return {"images": x}
    return {"images": x, "labels": torch.full((len(x),), int(choice.goal))}


def _dataset(images: Json, data: DataChoice) -> Dataset:
    given = cast("Mapping[str, Mapping[str, str]]", images)
    root = None if data.root is None else Path(data.root)
    return load_dataset(given["data"]["path"], str(given["split"]), root=root, size=data.size)


def _ids(source: Dataset, images: Json, seed: int) -> torch.Tensor:
    given = cast("Mapping[str, int | None]", images)
    return select(source, given["count"], seed, cast("Choose", given["choose"]))
