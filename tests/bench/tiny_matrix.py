"""A matrix that runs in a moment: the linear classifier of the digits' class means; and methods that misbehave."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch

from advbench.datasets.load import load_dataset
from advbench.registry import ATTACKS
from advbench.store import read_table, write_tensors

# Methods of a third party, found through an entry point, also by processes that know nothing of the test.
PLUGIN = """
import os
from pathlib import Path
from advbench.registry import attack

@attack(norms=(float("inf"),), access="none")
def raises(model, x, y, threat, *, draws):
    if not (Path(__file__).parent / "mended").exists():
        raise RuntimeError("this attack is broken")
    return x

@attack(norms=(float("inf"),), access="none")
def vanishes(model, x, y, threat, *, draws):
    os._exit(9)
"""


@cache
def class_means() -> tuple[torch.Tensor, torch.Tensor]:
    """weight (10, 64), bias (10,) of the classifier that picks the nearest class mean of the training digits."""
    data = load_dataset("digits", "train")
    flat = data.images(torch.arange(len(data))).flatten(1)
    means = torch.stack([flat[data.labels == label].mean(0) for label in range(10)])
    return means, -means.square().sum(1) / 2


def write_matrix(folder: Path, *, attacks: list[object] | None = None, **changes: object) -> Path:
    """`folder`/m.yaml with its weights beside it; changes replace its keys."""
    weight, bias = class_means()
    write_tensors(folder / "means.safetensors", {"1.weight": weight, "1.bias": bias})
    document: Mapping[str, object] = {
        "question": "Do the class means hold?",
        "data": {"name": "digits", "count": 40},
        "models": [{"linear": {"weights": "means.safetensors"}}],
        "threats": [{"norm": "inf", "eps": [0.05, "1/10"]}],
        "attacks": attacks or ["fgsm", {"pgd": {"steps": 5}}],
        **changes,
    }
    (folder / "m.yaml").write_text(json.dumps(document))
    return folder / "m.yaml"


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """The stored rows of every finished cell of the matrix, by folder name."""
    return {path.parent.name: read_table(path) for path in sorted(results.glob("m/*/samples.parquet"))}


def same_tables(one: Path, two: Path) -> bool:
    """Do two results folders hold the same cells with the same rows, value for value?"""
    first, second = tables(one), tables(two)
    return bool(first) and first.keys() == second.keys() and all(first[name].equals(second[name]) for name in first)


def leftovers(results: Path) -> list[str]:
    """Temporary files and chunks in cells that are done."""
    done = [path.parent for path in results.glob("m/*/cell.json")]
    chunks = [str(folder / "chunks") for folder in done if (folder / "chunks").exists()]
    return [str(path) for path in results.rglob(".*.tmp")] + chunks


@contextmanager
def plugin(folder: Path) -> Iterator[Path]:
    """The methods of PLUGIN are registered here and in every process that starts meanwhile."""
    info = folder / "misbehaving-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[advbench.attacks]\nmisbehaving = misbehaving\n")
    (folder / "misbehaving.py").write_text(PLUGIN)
    ATTACKS.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        patch.setattr(ATTACKS, "_entries", dict(ATTACKS._entries))
        __import__("misbehaving")
        yield folder
    del sys.modules["misbehaving"]
