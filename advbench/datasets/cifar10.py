"""CIFAR-10, 32 x 32 colour photographs of 10 classes, 50,000 train and 10,000 test. Krizhevsky 2009."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

from advbench.datasets.arrays import from_arrays
from advbench.datasets.class_names import class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.torchvision_files import available, is_train
from advbench.registry import dataset


@dataset(shape=(3, 32, 32), classes=10, source="torchvision")
def cifar10(split: str, *, root: Path, download: bool) -> Dataset:
    """split: train or test. Downloads 170 MB into root."""
    train = is_train("cifar10", split)
    with available("cifar10", root, download):
        files = CIFAR10(root, train=train, download=download)
    return from_arrays("cifar10", split, files.data, np.array(files.targets), class_names("cifar10"))
