"""The classes along the way of an attack: nothing of the path is lost, and it stays small."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.report.class_paths import TOLD, WIDE, ClassPath, class_paths, stretches
from advbench.store import write_tensors
from tests.report.stored_rows import cell

NAMES = ("zero", "one", "two")
ID = cell("loss_ascent", [1, 2]).id


def path(classes: list[int], label: int = 0, longest: int | None = None) -> ClassPath:
    return ClassPath(ID, 7, NAMES[label], stretches(classes, NAMES, label), len(classes), longest or len(classes))


def drawn(one: ClassPath) -> list[tuple[int, int, str]]:
    """(left, right, colour) of each piece of a bar."""
    svg = base64.b64decode(one.bar.partition(",")[2]).decode()
    return [(int(a), int(b), colour) for a, b, colour in re.findall(r'd="M(\d+) 0H(\d+)V\d+H\d+z" fill="(#\w+)"', svg)]


@given(st.lists(st.integers(0, 2), max_size=60))
def test_stretches_hold_the_whole_path(classes: list[int]) -> None:
    found = stretches(classes, NAMES, 1)
    again = [stretch.name for stretch in found for _ in range(stretch.first, stretch.last + 1)]
    assert again == [NAMES[number] for number in classes]
    assert all(before.name != after.name for before, after in pairwise(found))
    assert all(stretch.wrong == (stretch.name != "one") for stretch in found)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(0, 40))
def test_a_bar_is_covered_from_its_left_end_to_where_the_attack_stopped(classes: list[int], later: int) -> None:
    longest = len(classes) + later
    pieces = drawn(path(classes, longest=longest))
    assert pieces[0][0] == 0
    assert pieces[-1][1] == round(WIDE * len(classes) / longest)
    for (_, end, colour), (start, _, other) in pairwise(pieces):
        assert end == start
        assert colour != other


def test_hundreds_of_passes_take_no_more_room_than_a_few() -> None:
    few, many = path([0, 0, 1, 1]), path([0] * 500 + [1] * 500)
    assert drawn(few) == drawn(many)
    assert len(few.bar) == len(many.bar)
    restless = path([0, 1, 2] * 5000)
    assert len(drawn(restless)) <= WIDE
    assert (len(restless.told), restless.untold) == (TOLD + 1, 3 * 5000 - TOLD - 1)


def test_paths_are_read_from_the_gallery_of_a_cell(tmp_path: Path) -> None:
    tensors = {"sample_id": torch.tensor([0, 1]), "trajectory": torch.tensor([[0, 1, 1, -1], [0, 0, 0, 2]])}
    write_tensors(tmp_path / "gallery.safetensors", tensors)
    stored = replace(cell("loss_ascent", [1, 2]), folder=tmp_path)
    label = int(stored.rows["label"].iloc[0])
    first, second = class_paths([replace(stored, classes=NAMES), cell("pgd", [1, 2])])
    assert (first.passes, second.passes, first.longest) == (3, 4, 4)
    assert [(s.name, s.first, s.last) for s in first.stretches] == [("zero", 0, 0), ("one", 1, 2)]
    assert [(s.name, s.wrong) for s in second.stretches] == [("zero", label != 0), ("two", label != 2)]
