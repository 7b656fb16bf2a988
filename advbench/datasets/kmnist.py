"""Kuzushiji-MNIST characters, 28 x 28 grey, 60,000 train and 10,000 test. Clanuwat et al. 2018, arXiv:1812.01718."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import KMNIST

from advbench.datasets.arrays import from_arrays
from advbench.datasets.class_names import class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.torchvision_files import available, is_train
from advbench.registry import dataset


@dataset(shape=(1, 28, 28), classes=10, source="torchvision")
def kmnist(split: str, *, root: Path, download: bool) -> Dataset:
    """split: train or test. Downloads 21 MB into root."""
    train = is_train("kmnist", split)
    with available("kmnist", root, download):
        files = KMNIST(root, train=train, download=download)
    return from_arrays("kmnist", split, files.data.numpy(), files.targets.numpy(), class_names("kmnist"))
