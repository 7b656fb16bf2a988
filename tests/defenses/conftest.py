"""The bundled digits and a small net for them: large enough to learn, small enough for a test."""

from __future__ import annotations

import pytest

from advbench.datasets.dataset import Dataset
from advbench.datasets.load import load_dataset


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """1,297 images (1, 8, 8) in ten classes."""
    return load_dataset("digits", "train")


@pytest.fixture(scope="session")
def unseen_digits() -> Dataset:
    """500 more."""
    return load_dataset("digits", "test")
