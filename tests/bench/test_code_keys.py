"""What a registered function does decides the keys of its cells: the code of a third party's, the revision of ours."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from advbench.bench.config import load_matrix
from advbench.bench.jobs import Plan
from advbench.bench.matrix import expand
from advbench.registry import ATTACKS, CONTROLS, DATASETS, DEFENSES, MODELS
from tests.bench.tiny_matrix import write_matrix

OWN = """
from pathlib import Path
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from advbench.datasets.load import load_dataset
from advbench.registry import attack, control, dataset, defense, model

STEP = {step}

@attack(norms=("linf",), access="none")
def own_attack(model, x, y, threat, *, draws, targeted: bool = False, early_stop: bool = True):
    return (x + STEP * threat.radius).clamp(0, 1)

@control(norms=("linf",))
def own_control(model, x, y, threat, *, draws):
    return (x + STEP * threat.radius).clamp(0, 1)

@defense(stage="training", radius=False)
def own_training(model, x, y, threat, *, draws):
    return STEP * cross_entropy(model(x), y)

@defense(stage="inference")
def own_wrapper(model):
    return nn.Sequential(nn.Hardtanh(0, STEP), model)

@model()
def own_model(shape, classes, *, seed):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

@dataset(shape=(1, 8, 8), classes=10)
def own_data(split, *, root: Path | None, download: bool):
    return load_dataset("digits", split)
"""
FGSM = {"attacks": ["fgsm"], "defenses": ["none"]}
LABELS = {"labels": {"model": "linear", "seeds": 20, "rounds": 1, "epochs": 1}}
# What names something of the module above, and how many cells of its matrix stand on it.
USES: dict[str, tuple[int, dict[str, object]]] = {
    "attack": (1, {"attacks": ["own_attack", "fgsm"]}),
    "attack inside": (1, {"attacks": ["fgsm", {"transfer": {"substitute": "linear", "via": "own_attack"}}]}),
    "control": (1, {"controls": ["own_control"], "attacks": ["fgsm"]}),
    "training": (1, {"models": ["linear"], "defenses": ["none", {"own_training": {"epochs": 1}}], "attacks": ["fgsm"]}),
    "wrapper": (1, {"defenses": ["none", "own_wrapper"], "attacks": ["fgsm"]}),
    "victim's wrapper": (1, {"defenses": ["none", "own_wrapper"], "attacks": [{"transfer": {"substitute": LABELS}}]}),
    "model": (1, {"models": ["linear", "own_model"], "attacks": ["fgsm"]}),
    "substitute": (1, {"attacks": ["fgsm", {"transfer": {"substitute": "own_model"}}]}),
    "data": (1, {"data": {"name": "own_data", "count": 5}, "attacks": ["fgsm"]}),
    "training data": (
        1,
        {"models": ["linear"], "data": {"name": "digits", "count": 5, "train": "own_data"}, "attacks": ["fgsm"]},
    ),
}


@pytest.fixture
def write_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Writes the module with this step, and imports it anew."""
    for table in (ATTACKS, CONTROLS, DATASETS, DEFENSES, MODELS):
        table.load()
        monkeypatch.setattr(table, "_entries", dict(table._entries))
    monkeypatch.syspath_prepend(str(tmp_path))
    file, times = tmp_path / "own_methods.py", iter(range(1, 100))

    def write(step: float) -> None:
        file.write_text(OWN.format(step=step))
        os.utime(file, (0, next(times)))  # compiled files are known by whole seconds
        sys.modules.pop("own_methods", None)
        importlib.import_module("own_methods")

    yield write
    sys.modules.pop("own_methods", None)


def plan_of(folder: Path, **changes: object) -> Plan:
    return expand(load_matrix(write_matrix(folder, **changes)))  # type: ignore[arg-type]


def keys(folder: Path, **changes: object) -> set[str]:
    return {job.cell.key for job in plan_of(folder, **changes).jobs}


@pytest.mark.parametrize("use", USES)
def test_code_of_the_users_that_changed_makes_new_cells(
    use: str, tmp_path: Path, write_own: Callable[[float], None]
) -> None:
    count, matrix = USES[use]
    found = []
    for step in (0.5, 0.25, 0.5):
        write_own(step)
        found.append(keys(tmp_path, **matrix))
    assert found[0] == found[2]
    assert len(found[0] - found[1]) == count


def test_a_trained_model_is_another_one_under_changed_code(tmp_path: Path, write_own: Callable[[float], None]) -> None:
    trained = {"models": ["linear"], "defenses": ["own_training"], "attacks": ["fgsm"]}
    wrapped = {"defenses": ["own_wrapper"], "attacks": ["fgsm"]}
    found = []
    for step in (0.5, 0.25):
        write_own(step)
        recipes = [plan_of(tmp_path, **matrix).jobs[0].recipe for matrix in (trained, wrapped)]
        found.append([*(recipe.key for recipe in recipes), recipes[0].plain().key])
    assert found[0][0] != found[1][0]
    assert found[0][1:] == found[1][1:]  # what wraps a network changes no weights; without the defense it is not asked


def test_an_edited_file_does_not_count_before_it_is_imported_again(
    tmp_path: Path, write_own: Callable[[float], None]
) -> None:
    """What would run is the function as it was imported."""
    write_own(0.5)
    before = keys(tmp_path, attacks=["own_attack"])
    (tmp_path / "own_methods.py").write_text("")
    assert keys(tmp_path, attacks=["own_attack"]) == before


def test_a_revision_is_part_of_the_key_in_its_norm_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix: dict[str, object] = {
        "threats": [{"norm": "inf", "eps": [0.1]}, {"norm": 2, "eps": [1]}],
        "attacks": ["fgsm", "mi_fgsm", {"transfer": {"substitute": "linear", "via": "fgsm"}}],
    }
    before = plan_of(tmp_path, **matrix)
    entry = ATTACKS["fgsm"]
    raised = replace(entry, info=replace(entry.info, revisions={2.0: 2}))
    monkeypatch.setitem(ATTACKS._entries, "fgsm", raised)
    after = plan_of(tmp_path, **matrix)
    changed = [
        (job.attack.name, job.cell.norm)
        for job, was in zip(after.jobs, before.jobs, strict=True)
        if job.cell.key != was.cell.key
    ]
    assert sorted(changed) == [("fgsm", 2.0), ("transfer", 2.0)]
    assert {job.cell.attack.get("revision") for job in after.jobs} == {None, 2}


# The first digits of keys from before there were revisions; and whose results have changed since.
BEFORE = {
    ("apgd", "l1"): "9f9f5ac642b6cac3",
    ("apgd", "linf"): "001366bad8521bc6",
    ("auto", "l1"): "91ba3a22b1152b96",
    ("auto", "linf"): "2b896be8e689718f",
    ("bim", "linf"): "e7ac047cac0900f2",
    ("cascade", "l1"): "cf93af6428cd6311",
    ("cascade", "linf"): "f13d2ccb570e2144",
    ("fooling", "l1"): "5723afc77a9767ce",
    ("fooling", "linf"): "69fea8c7372e7c94",
    ("jsma", "l0"): "72fccf44fe0945ca",
    ("loss_ascent", "l1"): "3453d297fe068a1a",
    ("loss_ascent", "linf"): "949dcfcf5975afc0",
    ("pgd", "l1"): "1139db0bd1ba2c87",
    ("pgd", "linf"): "e9f8b1b48787bc61",
    ("square", "l1"): "5ff65133e69c56dd",
    ("square", "linf"): "a1c0a15253140763",
    ("universal", "linf"): "4a0d49861097eaa7",
}
REVISED = {
    *((name, "l1") for name in ("pgd", "square", "auto", "cascade", "loss_ascent", "fooling")),
    ("jsma", "l0"),
    ("universal", "linf"),
}


def test_cells_whose_results_changed_have_new_keys_and_no_others(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        models=["linear"],
        threats=[{"norm": "inf", "eps": ["1/10"]}, {"norm": 1, "eps": ["1/2"]}, {"norm": 0, "eps": [3]}],
        attacks=list(dict.fromkeys(name for name, _ in BEFORE)),
    )
    found = {(job.attack.name, job.labels["norm"]): job.cell.key[:16] for job in plan.jobs}
    assert found.keys() == BEFORE.keys()
    assert {cell for cell, key in found.items() if key != BEFORE[cell]} == REVISED
