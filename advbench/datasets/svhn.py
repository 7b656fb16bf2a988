"""Street View House Numbers, 32 x 32 colour, 73,257 train and 26,032 test. Netzer et al. 2011."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import SVHN

from advbench.datasets.arrays import from_arrays
from advbench.datasets.class_names import class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.torchvision_files import available, is_train
from advbench.registry import dataset


@dataset(shape=(3, 32, 32), classes=10, source="torchvision")
def svhn(split: str, *, root: Path, download: bool) -> Dataset:
    """split: train or test. Downloads 182 MB or 64 MB into root. The label of a zero is 0, as in torchvision."""
    is_train("svhn", split)
    with available("svhn", root, download):
        files = SVHN(root, split=split, download=download)
    return from_arrays("svhn", split, files.data, files.labels, class_names("svhn"))
