"""Which samples are taken: laws of the stratified choice, and that it never changes from version to version."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.datasets.dataset import Dataset
from advbench.datasets.select import Choose, ids_hash, select
from advbench.types import ConfigError


def labelled(labels: list[int]) -> Dataset:
    return Dataset("d", "test", torch.tensor(labels), ("a", "b", "c", "d"), (1, 1, 1), lambda ids: ids.float())


label_lists = st.lists(st.integers(0, 3), min_size=1, max_size=60)


@given(label_lists, st.integers(0, 2**32), st.data())
def test_stratified_is_as_equal_as_possible_sorted_and_repeatable(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    dataset, count = labelled(labels), data.draw(st.integers(1, len(labels)))
    ids = select(dataset, count, seed)
    assert ids.dtype == torch.int64
    assert len(ids) == count
    assert (ids.diff() > 0).all()
    assert torch.equal(ids, select(dataset, count, seed))
    taken = dataset.labels[ids].bincount(minlength=4)
    left = dataset.labels.bincount(minlength=4) - taken
    # A class with samples left over has at most one fewer than any other.
    assert (taken[left > 0] >= taken.max() - 1).all()


@given(label_lists, st.integers(0, 9), st.data())
def test_a_smaller_choice_is_part_of_a_larger_one(labels: list[int], seed: int, data: st.DataObject) -> None:
    large = data.draw(st.integers(1, len(labels)))
    small = data.draw(st.integers(1, large))
    dataset = labelled(labels)
    assert set(select(dataset, small, seed).tolist()) <= set(select(dataset, large, seed).tolist())


def test_the_choice_is_the_same_on_every_machine() -> None:
    assert select(labelled([0, 1, 2, 3] * 10), 6, seed=0).tolist() == [2, 3, 11, 13, 20, 21]


def test_seeds_differ() -> None:
    dataset = labelled([0, 1] * 50)
    assert not torch.equal(select(dataset, 10, 0), select(dataset, 10, 1))


@pytest.mark.parametrize(
    ("count", "choose", "ids"),
    [(None, "stratified", [0, 1, 2]), (2, "first", [0, 1]), (2, "all", [0, 1, 2]), (3, "stratified", [0, 1, 2])],
)
def test_first_and_all(count: int | None, choose: Choose, ids: list[int]) -> None:
    assert select(labelled([2, 2, 0]), count, 0, choose).tolist() == ids


@pytest.mark.parametrize("count", [0, -1, 4])
def test_too_many_or_too_few_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"d test has 3 samples, {count} were asked for"):
        select(labelled([2, 2, 0]), count, 0)


def test_an_unknown_way_to_choose_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be stratified, first or all, got 'last'"):
        select(labelled([0]), 1, 0, "last")  # type: ignore[arg-type]


def test_the_hash_names_dataset_split_and_ids() -> None:
    base = ids_hash("mnist", "test", torch.tensor([1, 2]))
    assert base == ids_hash("mnist", "test", torch.tensor([1, 2]))
    others = [
        ids_hash("kmnist", "test", torch.tensor([1, 2])),
        ids_hash("mnist", "train", torch.tensor([1, 2])),
        ids_hash("mnist", "test", torch.tensor([1, 3])),
    ]
    assert len({base, *others}) == 4
