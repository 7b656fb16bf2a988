"""MNIST handwritten digits, 28 x 28 grey, 60,000 train and 10,000 test. LeCun et al. 1998."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import MNIST

from advbench.datasets.arrays import from_arrays
from advbench.datasets.class_names import class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.torchvision_files import available, is_train
from advbench.registry import dataset


@dataset(shape=(1, 28, 28), classes=10, source="torchvision")
def mnist(split: str, *, root: Path, download: bool) -> Dataset:
    """split: train or test. Downloads 12 MB into root."""
    train = is_train("mnist", split)
    with available("mnist", root, download):
        files = MNIST(root, train=train, download=download)
    return from_arrays("mnist", split, files.data.numpy(), files.targets.numpy(), class_names("mnist"))
