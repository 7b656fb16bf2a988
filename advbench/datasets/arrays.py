"""Datasets that fit in memory: an array of images and one of labels, checked and brought to one layout."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advbench.datasets.dataset import Dataset
from advbench.types import ConfigError

_CHANNELS = (1, 3)


def from_arrays(
    name: str,
    split: str,
    images: NDArray[np.generic],
    labels: NDArray[np.generic],
    classes: tuple[str, ...],
) -> Dataset:
    """A Dataset of images (N, H, W), (N, C, H, W) or (N, H, W, C), C being 1 or 3, and labels (N,) integers.

    Images are uint8, divided by 255, or floats in [0, 1]. If both layouts are possible, channels come first.
    Raises ConfigError on any other shape, type, range or number.
    """
    stored = torch.from_numpy(_channels_first(_checked(images, name), name))
    targets = check_labels(labels, len(stored), len(classes), name)
    channels, height, width = stored.shape[1:]
    return Dataset(name, split, targets, classes, (channels, height, width), partial(_read, stored))


def check_labels(labels: NDArray[np.generic], count: int, classes: int, name: str) -> Tensor:
    """labels as int64 (N,). Raises ConfigError unless they are `count` integers in 0..classes-1."""
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ConfigError(f"{name}: labels must be integers (N,), got {labels.dtype} of shape {labels.shape}")
    if len(labels) != count or count == 0:
        raise ConfigError(f"{name}: as many labels as images are needed, at least 1; got {len(labels)} and {count}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ConfigError(f"{name}: labels must be in 0..{classes - 1}, got {low}..{high}")
    return torch.from_numpy(labels.astype(np.int64))


def _read(stored: Tensor, ids: Tensor) -> Tensor:
    images = stored[ids]
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _checked(images: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    """uint8 as it is, floats as float32 after a look at their range."""
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ConfigError(f"{name}: images must be uint8 or floats in [0, 1], got {images.dtype}")
    if images.size and not (images.min() >= 0 and images.max() <= 1):  # also false for nan
        raise ConfigError(
            f"{name}: float images must lie in [0, 1], got [{images.min():g}, {images.max():g}]; divide by 255, or "
            f"undo a normalisation: it belongs into the model"
        )
    return images.astype(np.float32)


def _channels_first(images: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in _CHANNELS and images.shape[3] in _CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in _CHANNELS or 0 in images.shape[2:]:
        raise ConfigError(
            f"{name}: images must be (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels, got {images.shape}"
        )
    return np.ascontiguousarray(images)
