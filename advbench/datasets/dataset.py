"""The noun of this room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SPLITS = ("train", "val", "test")  # what a file or a folder that is in one part stands for


@dataclass(frozen=True, eq=False)
class Dataset:
    """N labelled images of one shape, read when asked for.

    name: what results are filed under; without paths, with 8 hex digits of the content for a user's own files.
    labels: (N,) int64 in 0..K-1. classes: K names. shape: (C, H, W). read: ids (n,) int64 -> images (n, C, H, W)
    float32 in [0, 1]. note: how images and classes were made, for people.
    """

    name: str
    split: str
    labels: Tensor
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    read: Callable[[Tensor], Tensor]
    note: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, ids: Tensor) -> Tensor:
        """The images at ids (n,), positions in the split: (n, C, H, W) float32 in [0, 1], in the order of ids.

        Raises IndexError for an id outside 0..N-1, ConfigError if an image file cannot be read.
        """
        if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < len(self)):
            raise IndexError(f"{self.name} {self.split}: ids must be in 0..{len(self) - 1}, got {ids.tolist()}")
        return self.read(ids.to("cpu", torch.int64))
