"""Reading result folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from advbench.report.panel import panels
from advbench.report.stored import read_matrix
from advbench.types import ConfigError
from tests.report.synthetic_results import Plan, write_results

FAILED = ("none", "pgd", "linf")
MISSING = ("none", "fgsm", "l2")


def test_cells_gaps_and_skips_are_told_apart(tmp_path: Path) -> None:
    matrix = read_matrix(write_results(tmp_path / "m", Plan(n=20, failed=(FAILED,), missing=(MISSING,))))
    gaps = {(g.id.defense, g.id.attack, g.id.norm): (g.status, g.reason) for g in matrix.gaps}
    assert gaps == {
        ("none", "pgd", float("inf")): ("failed", "RuntimeError: CUDA out of memory"),
        ("none", "fgsm", 2.0): ("not run", "not run yet"),
    }
    assert len(matrix.cells) == len(matrix.entries) - 2 == 25
    assert matrix.skips[0].reason == "fgsm does not target"


def test_minimum_norm_cells_join_the_panel_of_their_norm(tmp_path: Path) -> None:
    linf, l2, distances = panels(read_matrix(write_results(tmp_path / "m", Plan(n=20))))
    nearest = ("loss_ascent", "untargeted", "minimum norm")
    assert nearest in l2.methods("attack")
    assert nearest not in linf.methods("attack")
    assert distances.methods("attack") == [nearest]
    assert all(list(held.columns) == list(l2.grid) for held in l2.held.values())


def test_an_attack_that_ran_on_the_grid_does_not_join_it_twice(tmp_path: Path) -> None:
    plan = Plan(n=20, attacks=("fgsm", "loss_ascent"))
    _, l2, distances = panels(read_matrix(write_results(tmp_path / "m", plan)))
    assert [method[0] for method in l2.methods("attack")] == ["fgsm", "loss_ascent"]
    assert not any(method[2] for method in l2.methods("attack"))
    assert distances.methods("attack") == [("loss_ascent", "untargeted", "minimum norm")]


@pytest.mark.parametrize("name", ["cell.json", "samples.parquet"])
def test_a_damaged_cell_is_a_gap_with_its_reason(tmp_path: Path, name: str) -> None:
    folder = write_results(tmp_path / "m", Plan(n=20))
    victim = read_matrix(folder).cells[0]
    (victim.folder / name).write_bytes(b"torn")
    gap = next(gap for gap in read_matrix(folder).gaps if gap.id.key == victim.id.key)
    assert gap.status == "damaged"
    assert name in gap.reason


def test_an_interrupted_cell_says_so(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "m", Plan(n=20, missing=(MISSING,)))
    (folder / f"cell-{read_matrix(folder).gaps[0].id.short}" / "chunks").mkdir(parents=True)
    assert "resumes" in read_matrix(folder).gaps[0].reason


def test_a_folder_with_one_matrix_stands_for_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no results in .*advbench run"):
        read_matrix(tmp_path)
    folder = write_results(tmp_path / "digits", Plan(n=10, defenses=("none",)))
    (tmp_path / "models").mkdir()
    assert read_matrix(tmp_path).folder == folder == read_matrix(folder).folder


def test_of_several_matrices_the_error_names_each(tmp_path: Path) -> None:
    for name in ("mnist", "digits"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "matrix.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds 2 matrices.*digits, .*mnist"):
        read_matrix(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": [{}], "skips": []}', '{"cells": 3}'])
def test_an_unreadable_plan_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "matrix.json").write_text(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_matrix(tmp_path)
