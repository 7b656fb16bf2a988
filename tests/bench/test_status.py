"""The state of a cell is read from its folder alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from filelock import FileLock

from advbench.bench import run_cell as cell_module
from advbench.bench.runner import run
from advbench.bench.status import cell_states
from advbench.store import UnreadableError, read_json, write_json
from tests.bench.tiny_matrix import plugin, write_matrix


def test_every_state_is_told_apart(tmp_path: Path) -> None:
    real, chunks = cell_module.write_chunk, []

    def stop_at_third(*args: object) -> None:
        chunks.append(1)
        if len(chunks) == 3:
            raise RuntimeError("the third chunk")
        real(*args)  # type: ignore[arg-type]

    with plugin(tmp_path):
        attacks: list[object] = ["fgsm", "raises", {"pgd": {"steps": 2}}]
        threats = [{"norm": "inf", "eps": 0.1}, {"norm": 2}]
        matrix = write_matrix(tmp_path, attacks=attacks, threats=threats)
        run(matrix, results=tmp_path, device="cpu", only="attack=fgsm")
        run(matrix, results=tmp_path, device="cpu", only="attack=raises")
        (pgd,) = (state for state in cell_states(tmp_path / "m") if state.labels["attack"] == "pgd" and state.key)
        assert (pgd.status, pgd.detail) == ("missing", "")
        cell_module.write_chunk = stop_at_third  # type: ignore[assignment]
        try:
            run(matrix, results=tmp_path, device="cpu", only="attack=pgd", chunk=8)
        finally:
            cell_module.write_chunk = real
    states = {state.labels["attack"]: state for state in cell_states(tmp_path / "m") if state.key}
    assert {name: state.status for name, state in states.items()} == {
        "fgsm": "done",
        "raises": "failed",
        "pgd": "failed",
    }
    assert "this attack is broken" in states["raises"].detail
    assert "the third chunk" in states["pgd"].detail
    (pgd.folder / "failure.json").unlink()
    assert ("missing", "2 of 5 chunks") in [(state.status, state.detail) for state in cell_states(tmp_path / "m")]
    with FileLock(pgd.folder / ".lock"):
        assert ("running", "2 of 5 chunks") in [(state.status, state.detail) for state in cell_states(tmp_path / "m")]
    counts = Counter(state.status for state in cell_states(tmp_path / "m"))
    assert counts == {"done": 1, "failed": 1, "missing": 1, "skipped": 3}
    assert all(state.detail for state in cell_states(tmp_path / "m") if state.status == "skipped")


def test_a_cell_whose_record_cannot_be_read_is_damaged_and_not_done(tmp_path: Path) -> None:
    run(write_matrix(tmp_path), results=tmp_path, device="cpu")
    first, second = cell_states(tmp_path / "m")
    (first.folder / "cell.json").write_text('{"key": "')
    damaged, done = cell_states(tmp_path / "m")
    assert (damaged.status, done) == ("damaged", second)
    assert "cell.json cannot be read: it is not JSON" in damaged.detail


@pytest.mark.parametrize("name", ["failure.json", "chunks/cut.json"])
def test_a_damaged_note_does_not_hide_the_other_cells(tmp_path: Path, name: str) -> None:
    with plugin(tmp_path):
        run(write_matrix(tmp_path, attacks=["raises", "fgsm"]), results=tmp_path, device="cpu")
        (failed,) = (state.folder for state in cell_states(tmp_path / "m") if state.status == "failed")
    (failed / name).write_text("")
    assert sorted(state.status for state in cell_states(tmp_path / "m")) == ["done", "failed"]


@pytest.mark.parametrize("content", ["", '{"cells": [', "[]", '{"cells": 3}', '{"cells": [], "skips": [1]}'])
def test_a_damaged_plan_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "matrix.json").write_text(content)
    with pytest.raises(UnreadableError, match=r"matrix\.json cannot be read: it is no"):
        cell_states(tmp_path)


def test_a_plan_from_elsewhere_leads_to_no_other_folder_and_asking_changes_nothing(tmp_path: Path) -> None:
    run(write_matrix(tmp_path, attacks=["fgsm"]), results=tmp_path, device="cpu")
    outside = tmp_path / "outside"
    outside.mkdir()
    (cell,) = (file.parent for file in tmp_path.glob("m/*/cell.json"))
    for folder in (outside, cell):
        (folder / ".lock").touch()
        (folder / ".precious.tmp").write_text("mine")
    (cell / "cell.json").unlink()
    plan = read_json(tmp_path / "m" / "matrix.json")
    assert isinstance(plan, dict)
    (entry,) = plan["cells"]  # type: ignore[misc]
    write_json(tmp_path / "m" / "matrix.json", {**plan, "cells": [entry, {**entry, "folder": "../outside"}]})  # type: ignore[dict-item]
    states = cell_states(tmp_path / "m")
    assert [state.folder.parent for state in states] == [tmp_path / "m"] * 2
    assert (outside / ".precious.tmp").exists()
    assert (cell / ".precious.tmp").exists()
