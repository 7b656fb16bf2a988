"""Your own arrays: an .npz file with `images` and `labels`, or with packed JPEG files."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advbench.datasets.arrays import check_labels, from_arrays
from advbench.datasets.class_names import class_names, numbered
from advbench.datasets.dataset import SPLITS, Dataset
from advbench.datasets.images import as_tensor, decode
from advbench.registry import dataset
from advbench.types import ConfigError

MAX_BYTES = 64 * 2**30  # unpacked

Arrays = Mapping[str, NDArray[np.generic]]


@dataset(source="file")
def npz(split: str, *, root: Path, download: bool, path: str, labels_of: str = "") -> Dataset:
    """`images` (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or floats in [0, 1], and integer `labels` (N,).

    Or `prefix`, `body`, `offsets` (N + 1,), `labels`: image i is the JPEG file prefix + body[offsets[i]:offsets[i+1]].
    path: may hold {split}; without it the same file stands for train, val and test. labels_of: the dataset whose class
    names apply; else the file's `classes`, else numbers up to the largest label. Raises ConfigError on anything else;
    pickled objects are never read.
    """
    if "{split}" not in path and split not in SPLITS:
        allowed = (
            f"stands for {', '.join(SPLITS)}, got {split!r}; write {{split}} into the path to have a file for each"
        )
        raise ConfigError(f"npz:{path}: the one file {allowed}")
    file = Path(path.replace("{split}", split)).expanduser()
    arrays = _read_file(file)
    name = f"npz:{file.stem}-{_digest(file)}"
    if "labels" not in arrays:
        raise ConfigError(f"{file}: has no array 'labels'; it has {', '.join(arrays)}")
    classes = _classes(arrays, labels_of, file)
    if "images" in arrays:
        return from_arrays(name, split, arrays["images"], arrays["labels"], classes)
    if {"prefix", "body", "offsets"} <= set(arrays):
        return _packed(name, split, arrays, classes)
    raise ConfigError(f"{file}: has neither 'images' nor 'prefix', 'body', 'offsets'; it has {', '.join(arrays)}")


def _read_file(file: Path) -> Arrays:
    if not file.is_file():
        raise ConfigError(f"npz:{file}: there is no such file")
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise ConfigError(
                f"npz:{file}: unpacks to {unpacked / 2**30:.0f} GiB; at most {MAX_BYTES // 2**30} are read"
            )
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except ConfigError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise ConfigError(f"npz:{file}: truncated or no plain .npz file ({error})") from None


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:8]


def _classes(arrays: Arrays, labels_of: str, file: Path) -> tuple[str, ...]:
    if labels_of:
        return class_names(labels_of)
    if "classes" in arrays:
        if arrays["classes"].ndim != 1:
            raise ConfigError(f"npz:{file}: classes must be names (K,), got shape {arrays['classes'].shape}")
        return tuple(str(name) for name in arrays["classes"])
    labels = arrays["labels"]
    if not np.issubdtype(labels.dtype, np.integer) or not labels.size:
        raise ConfigError(f"npz:{file}: labels must be integers, at least one; got {labels.dtype} {labels.shape}")
    return numbered(int(labels.max()) + 1)


def _packed(name: str, split: str, arrays: Arrays, classes: tuple[str, ...]) -> Dataset:
    offsets, body = arrays["offsets"], arrays["body"]
    labels = check_labels(arrays["labels"], len(offsets) - 1, len(classes), name)
    if offsets[0] < 0 or offsets[-1] > len(body) or (np.diff(offsets) < 0).any():
        raise ConfigError(f"{name}: offsets must increase within the {len(body)} bytes of body")
    cuts = torch.from_numpy(offsets.astype(np.int64))
    read = partial(_read_packed, name, arrays["prefix"].tobytes(), body.tobytes(), cuts)
    channels, height, width = read(torch.tensor([0])).shape[1:]
    return Dataset(name, split, labels, classes, (channels, height, width), read, note="unpacked from JPEG")


def _read_packed(name: str, prefix: bytes, body: bytes, cuts: Tensor, ids: Tensor) -> Tensor:
    spans = [(int(cuts[i]), int(cuts[i + 1]), int(i)) for i in ids]
    pictures = [as_tensor(decode(prefix + body[start:stop], f"{name} image {i}")) for start, stop, i in spans]
    if len({picture.shape for picture in pictures}) > 1:
        raise ConfigError(f"{name}: its pictures are of different sizes")
    return torch.stack(pictures)
