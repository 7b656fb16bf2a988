"""Whatever decides a model's weights decides the keys of its cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from advbench.bench.config import load_matrix
from advbench.bench.jobs import SubstituteRecipe
from advbench.bench.matrix import expand
from advbench.models.load import load_model
from advbench.store import write_tensors
from tests.bench.tiny_matrix import write_matrix

LOADING = """
from safetensors.torch import load_file
from torch import nn
def make():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    net.load_state_dict(load_file({path!r}))
    return net
def breaks(): raise RuntimeError("no weights")
"""
ASKED = {"transfer": {"substitute": {"labels": {"model": "linear", "seeds": 20, "rounds": 1, "epochs": 1}}}}


def keys(matrix: Path) -> set[str]:
    return {job.cell.key for job in expand(load_matrix(matrix, allow_code=True)).jobs}


def test_new_weights_behind_a_function_of_the_users_make_new_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    weights = tmp_path / "own.safetensors"
    (tmp_path / "loading_weights.py").write_text(LOADING.format(path=str(weights)))
    found = []
    for seed in (0, 1, 0):
        write_tensors(weights, load_model("linear", shape=(1, 8, 8), classes=10, seed=seed).state_dict())
        found.append(keys(write_matrix(tmp_path, models=["python:loading_weights:make"])))
    assert found[0] == found[2]
    assert not found[0] & found[1]
    assert keys(write_matrix(tmp_path, models=["python:loading_weights:breaks"]))  # its cells will say why


def test_a_package_of_the_users_is_known_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the sizes of its files, and not by what Python compiles them to."""
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "own_network"
    package.mkdir()
    matrix = write_matrix(tmp_path, models=["python:own_network:make"])
    found = []
    for beta in (1, 2, 1):
        (package / "__init__.py").write_text(f"BETA = {beta}\n")
        found.append(keys(matrix))
        (package / "__pycache__").mkdir(exist_ok=True)
        (package / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"compiled")
    assert found[0] == found[2]
    assert not found[0] & found[1]


def test_a_substitute_of_given_weights_is_another_one_on_other_images(tmp_path: Path) -> None:
    found = []
    for seed in (0, 1, 0):
        random = np.random.default_rng(seed)
        images, labels = random.integers(0, 255, (40, 8, 8), np.uint8), np.arange(40) % 10
        np.savez(tmp_path / "train.npz", images=images, labels=labels)
        data = {"name": "digits", "count": 5, "train": "npz:train.npz"}
        found.append(keys(write_matrix(tmp_path, attacks=[ASKED], data=data)))
    assert found[0] == found[2]
    assert not found[0] & found[1]


def test_a_substitute_asks_the_victim_behind_its_inference_defense(tmp_path: Path) -> None:
    (job,) = expand(load_matrix(write_matrix(tmp_path, attacks=[ASKED]))).jobs
    assert isinstance(job.substitute, SubstituteRecipe)
    hidden = replace(job.recipe, stage="inference", defense="jpeg", defense_params={"quality": 50})
    other = replace(hidden, defense_params={"quality": 75})
    found = {replace(job.substitute, victim=victim).key for victim in (job.recipe, hidden, other)}
    assert len(found) == 3
