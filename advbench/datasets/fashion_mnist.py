"""Fashion-MNIST clothes, 28 x 28 grey, 60,000 train and 10,000 test. Xiao et al. 2017, arXiv:1708.07747."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import FashionMNIST

from advbench.datasets.arrays import from_arrays
from advbench.datasets.class_names import class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.torchvision_files import available, is_train
from advbench.registry import dataset


@dataset(shape=(1, 28, 28), classes=10, source="torchvision")
def fashion_mnist(split: str, *, root: Path, download: bool) -> Dataset:
    """split: train or test. Downloads 30 MB into root."""
    train = is_train("fashion_mnist", split)
    with available("fashion_mnist", root, download):
        files = FashionMNIST(root, train=train, download=download)
    return from_arrays("fashion_mnist", split, files.data.numpy(), files.targets.numpy(), class_names("fashion_mnist"))
