"""What all tests share: derandomised properties, one thread, and the data folder where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# The same examples on every machine unless asked otherwise: pytest --hypothesis-profile explore
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")

# The tensors here are small: more threads only wait for each other.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Every test begins at one state of torch's generator: what it draws does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it are skipped where it is missing."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder}: not there")
    return folder
