"""Optical digits inside scikit-learn, 8 x 8 grey, 1,297 train and 500 test, no download. Alpaydin & Kaynak 1998."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from advbench.datasets.arrays import from_arrays
from advbench.datasets.class_names import class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.select import stratified
from advbench.datasets.torchvision_files import is_train
from advbench.registry import dataset

_TEST = 500


@dataset(shape=(1, 8, 8), classes=10, source="scikit-learn")
def digits(split: str, *, root: Path, download: bool) -> Dataset:
    """split: train or test; a fixed stratified split, 50 test images per class. Grey levels 0..16 become 0..1."""
    train = is_train("digits", split)
    bundle = load_digits()
    test = stratified(bundle.target, _TEST, seed=0)
    ids = np.setdiff1d(np.arange(len(bundle.target)), test) if train else test
    return from_arrays("digits", split, bundle.images[ids] / 16, bundle.target[ids], class_names("digits"))
