"""Specs of datasets, and the bundled digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from advbench.datasets.class_names import class_names
from advbench.datasets.load import default_root, load_dataset, load_samples
from advbench.registry import DATASETS
from advbench.types import ConfigError


def test_digits_are_split_once_and_for_all() -> None:
    train, test = load_dataset("digits", "train"), load_dataset("digits")
    assert (len(train), len(test)) == (1297, 500)
    assert test.labels.bincount().tolist() == [50] * 10
    assert (test.shape, test.classes) == ((1, 8, 8), tuple("0123456789"))
    both = torch.cat([data.images(torch.arange(len(data))) for data in (train, test)])
    everything = torch.from_numpy(load_digits().images / 16).float()[:, None]
    assert both.min() == 0
    assert both.max() == 1
    # Every image of the bundle is in exactly one of the two.
    assert sorted(map(bytes, both.numpy())) == sorted(map(bytes, everything.numpy()))


def test_samples_come_in_the_order_of_their_ids() -> None:
    x, y = load_samples("digits", count=64, seed=3)
    assert (x.shape, x.dtype, y.dtype) == ((64, 1, 8, 8), torch.float32, torch.int64)
    data = load_dataset("digits")
    backwards = torch.arange(len(data)).flip(0)
    assert torch.equal(data.images(backwards), data.images(torch.arange(len(data))).flip(0))
    assert len(load_samples(data)[1]) == 500


@pytest.mark.parametrize("ids", [[-1], [500], [0, 1000]])
def test_ids_outside_the_split_are_an_error(ids: list[int]) -> None:
    with pytest.raises(IndexError, match=r"ids must be in 0..499"):
        load_dataset("digits").images(torch.tensor(ids))


@pytest.mark.parametrize("name", [entry.name for entry in DATASETS if entry.info.classes])
def test_each_known_dataset_names_its_classes(name: str) -> None:
    names = class_names(name)
    assert len(names) == len(set(names)) == DATASETS[name].info.classes


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("digit", "test", "did you mean 'digits'"),
        ("digits", "val", "digits has the splits train and test, got 'val'"),
        ("digits:file", "test", "digits takes no :file"),
        ("digits:#a", "test", "takes no labels_of"),
        ("npz", "test", "npz is written npz:PATH"),
        ("folder", "test", "folder is written folder:PATH"),
        ("npz:gone.npz", "test", "no such file"),
        ("folder:gone", "test", "no such folder"),
        ("imagenet", "minival", "imagenet has the splits"),
    ],
)
def test_a_senseless_spec_is_refused(spec: str, split: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataset(spec, split, root=tmp_path)


def test_a_size_for_a_dataset_without_resizing_is_refused() -> None:
    with pytest.raises(ConfigError, match="digits takes no size, got 32"):
        load_dataset("digits", size=32)


def test_the_root_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADVBENCH_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("ADVBENCH_DATA")
    assert default_root().is_relative_to(Path.home())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": None}, "dataset must be a word or Dataset, got None"),
        ({"count": 2.5}, "count must be a whole number of at least 1, got 2.5"),
        ({"count": "3"}, "count must be a whole number of at least 1, got '3'"),
        ({"count": 0}, "count must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"root": 3}, "root must be a folder, got 3"),
    ],
)
def test_values_that_are_no_numbers_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_samples(**({"dataset": "digits", "count": 3} | arguments))  # type: ignore[arg-type]
