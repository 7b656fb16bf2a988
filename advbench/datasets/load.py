"""From a spec to labelled images."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor
from torch.nn.functional import interpolate

from advbench.core.call_checks import check_count, check_seed, check_value, shown
from advbench.datasets.class_names import NAMED, class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.images import read_image
from advbench.datasets.select import Choose, select
from advbench.registry import DATASETS
from advbench.types import ConfigError


def load_dataset(
    spec: str, split: str = "test", *, root: Path | None = None, download: bool = True, size: int | None = None
) -> Dataset:
    """The dataset that `spec` names: a registered name, `npz:PATH`, `folder:PATH`, perhaps `#labels_of` behind.

    root: where downloads are kept; else the folder in ADVBENCH_DATA, else ~/.cache/advbench. size: pixels of one side
    where the reader resizes (folder, imagenet). Raises ConfigError if the spec, the split or the files are wrong.
    """
    check_value("spec", spec, str)
    name, _, rest = spec.strip().partition(":")
    path, _, labels_of = rest.rpartition("#") if "#" in rest else (rest, "", "")
    entry = DATASETS[name]
    parameters = entry.parameters()
    required = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
    wanted = [key for key in required if key not in ("root", "download")]
    if bool(wanted) != bool(path):
        raise ConfigError(f"{name} is written {name}:{wanted[0].upper()}" if wanted else f"{name} takes no :{rest}")
    given: dict[str, object] = dict.fromkeys(wanted, path)
    for key, value in (("labels_of", labels_of), ("size", size)):
        if value and key not in parameters:
            raise ConfigError(f"{name} takes no {key}, got {value!r}")
        if value is not None and value != "":
            given[key] = value
    made = entry.function(split, root=root or default_root(), download=download, **given)
    if not isinstance(made, Dataset):
        raise TypeError(f"the reader {name} returned {type(made).__name__}, not a Dataset")
    return made


def classes_of(spec: str, split: str = "test", *, root: Path | None = None) -> tuple[str, ...]:
    """The names of a dataset's classes, label 0 first; of a well-known one they are known without its files."""
    return class_names(spec) if spec in NAMED else load_dataset(spec, split, root=root).classes


def load_samples(
    dataset: str | Dataset,
    *,
    count: int | None = None,
    split: str = "test",
    seed: int = 0,
    choose: Choose = "stratified",
    root: Path | str | None = None,
) -> tuple[Tensor, Tensor]:
    """x (count, C, H, W) float32 in [0, 1] and y (count,) int64; all samples if count is None.

    Chosen by `select`: stratified by class and seeded. root: where the files of a named dataset are, as in
    `load_dataset`. Raises ConfigError as `load_dataset` and `select` do.
    """
    check_value("dataset", dataset, str | Dataset)
    check_count("count", count)
    check_seed(seed)
    if not isinstance(root, str | Path | None):
        raise ConfigError(f"root must be a folder, got {shown(root)}")
    folder = None if root is None else Path(root)
    source = load_dataset(dataset, split, root=folder) if isinstance(dataset, str) else dataset
    ids = select(source, count, seed, choose)
    return source.images(ids), source.labels[ids]


def read_as(path: Path, spec: str, shape: tuple[int, int, int]) -> Tensor:
    """The picture at `path` as an image (C, H, W) of the dataset that `spec` names, whose images have that shape.

    As its reader would make it of a photograph (folder, imagenet), else stretched to the size; grey if C is 1. Raises
    ConfigError if it is no picture, or if C is neither 1 nor 3.
    """
    channels, height, width = shape
    if "size" in DATASETS[spec.strip().partition(":")[0]].parameters():
        return read_image(path, size=height)
    if channels not in (1, 3):
        raise ConfigError(f"a picture has no {channels} channels, as the images of {spec} have")
    picture = read_image(path)[None]
    if channels == 1:
        picture = picture.mean(1, keepdim=True)
    if picture.shape[2:] != (height, width):
        picture = interpolate(picture, (height, width), mode="bilinear", antialias=True).clamp(0, 1)
    return picture[0]


def default_root() -> Path:
    """Where downloaded datasets are kept unless the user says otherwise."""
    return Path(os.environ.get("ADVBENCH_DATA", "~/.cache/advbench")).expanduser()
