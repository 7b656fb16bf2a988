"""Tables of explanations from stored comparisons: means, agreement, and cells that have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.bench.runner import run
from advbench.bench.stability import COLUMNS
from advbench.diagnostics.likeness import likeness
from advbench.report.explanations import FILE, Explanations, explanations
from advbench.report.gallery import galleries
from advbench.report.panel import panels
from advbench.report.render import report
from advbench.report.stored import StoredCell, read_matrix
from advbench.store import read_table, read_tensors, write_table, write_tensors
from tests.bench.tiny_matrix import write_matrix
from tests.report.stored_rows import cell, matrix

SUBJECT = ("net", "none")


def row(
    between: str, first: str, second: str, *, sample: int = 0, overlap: float = 0.5, correlation: float = 0.5
) -> dict[str, object]:
    return {
        "sample_id": sample,
        "fooled": True,
        "between": between,
        "first": first,
        "second": second,
        "overlap": overlap,
        "correlation": correlation,
        "structure": 0.5,
        "shift": 1.0,
        "found_overlap": overlap,
        "found_correlation": -correlation,
    }


def explained(folder: Path, attack: str, rows: list[dict[str, object]], **changes: str) -> StoredCell:
    place = folder / attack
    place.mkdir(parents=True)
    write_table(place / FILE, pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS))
    return replace(cell(attack, [1, 2], **changes), folder=place)  # type: ignore[arg-type]


def found(*cells: StoredCell) -> Explanations:
    return explanations(panels(matrix(*cells)), [SUBJECT])


def test_means_are_over_the_samples_of_a_cell(tmp_path: Path) -> None:
    rows = [row("attack", "saliency", "saliency", sample=k, overlap=k / 4, correlation=0.2 * k) for k in range(4)]
    (table,) = found(explained(tmp_path, "pgd", rows)).tables
    assert table.methods == ("saliency",)
    ((one,),) = [line.survivals for line in table.rows]
    assert one is not None
    assert (one.n, table.rows[0].n) == (4, 4)
    assert one.overlap == pytest.approx(1.5 / 4)
    assert one.correlation == pytest.approx(0.3)
    assert one.found == pytest.approx(-0.3)
    assert one.level == round(50 * 1.5 / 4)


def test_blank_maps_are_left_out_of_the_means_and_counted(tmp_path: Path) -> None:
    nan = float("nan")
    rows = [row("attack", "grad_cam", "grad_cam", sample=k, overlap=0.2 + 0.2 * k) for k in range(2)]
    rows += [row("attack", "grad_cam", "grad_cam", sample=2, overlap=nan, correlation=nan)]
    rows += [row("clean", "a", "b", sample=0, correlation=0.4), row("clean", "a", "b", sample=1, correlation=nan)]
    silent = [row("attack", "grad_cam", "grad_cam", overlap=nan, correlation=nan)]
    both = found(explained(tmp_path, "pgd", rows), explained(tmp_path, "fgsm", silent))
    (table,) = both.tables
    some, none = (line.survivals[0] for line in table.rows)
    assert some is not None
    assert none is not None
    assert (some.n, some.blank, none.n, none.blank) == (2, 1, 0, 1)
    assert some.overlap == pytest.approx(0.3)
    ((_, (clean,)),) = both.agreements
    assert clean.values[0][1] == clean.values[1][0] == pytest.approx(0.4)
    assert clean.blank == ((0, 1), (1, 0))
    assert clean.n == 2


def test_noise_of_the_same_size_stands_beside_the_attack(tmp_path: Path) -> None:
    rows = [row("attack", "saliency", "saliency", sample=k, overlap=0.1) for k in range(2)]
    rows += [row("noise", "saliency", "saliency", sample=k, overlap=0.2 + 0.2 * k) for k in range(2)]
    (table,) = found(explained(tmp_path, "pgd", rows)).tables
    ((one,),) = [line.survivals for line in table.rows]
    assert one is not None
    assert (one.n, table.rows[0].n) == (2, 2)
    assert (one.overlap, one.noise) == (pytest.approx(0.1), pytest.approx(0.3))
    (table,) = found(explained(tmp_path / "before", "pgd", rows[:2])).tables  # a folder of before
    assert table.rows[0].survivals[0] is not None
    assert table.rows[0].survivals[0].noise is None


@settings(max_examples=20)
@given(st.permutations(["a", "b", "c"]), st.floats(-1, 1))
def test_agreement_is_symmetric_with_ones_on_the_diagonal(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], value: float
) -> None:
    first, second, third = names
    rows = [
        row(image, one, other, correlation=value)
        for image in ("clean", "adversarial")
        for one, other in ((first, second), (first, third), (second, third))
    ]
    (only,) = found(explained(tmp_path_factory.mktemp("agree"), "pgd", rows)).agreements
    assert only[0] == SUBJECT
    for agreement in only[1]:
        size = range(len(agreement.methods))
        assert set(agreement.methods) == set(names)
        assert all(agreement.values[i][i] == 1.0 for i in size)
        assert all(agreement.values[i][j] == agreement.values[j][i] for i in size for j in size)
        assert all(0 <= level <= 50 for line in agreement.levels for level in line)


def test_clean_images_count_once_and_controls_do_not_count_as_adversarial(tmp_path: Path) -> None:
    both = [row("clean", "a", "b", correlation=0.5), row("adversarial", "a", "b", correlation=0.1)]
    other = [row("clean", "a", "b", correlation=0.5), row("adversarial", "a", "b", correlation=0.3)]
    noise = [row("clean", "a", "b", correlation=0.5), row("adversarial", "a", "b", correlation=0.9)]
    cells = [explained(tmp_path, "pgd", both), explained(tmp_path, "fgsm", other)]
    cells.append(explained(tmp_path, "random_sphere", noise, kind="control"))
    ((_, (clean, adversarial)),) = found(*cells).agreements
    assert (clean.n, adversarial.n) == (1, 2)
    assert clean.values[0][1] == pytest.approx(0.5)
    assert adversarial.values[0][1] == pytest.approx(0.2)


def test_a_method_without_meaning_for_one_model_is_told_apart(tmp_path: Path) -> None:
    cells = [
        explained(tmp_path, "pgd", [row("attack", name, name) for name in ("saliency", "grad_cam")]),
        explained(tmp_path, "fgsm", [row("attack", "saliency", "saliency")]),
    ]
    (table,) = found(*cells).tables
    assert [[one is None for one in line.survivals] for line in table.rows] == [[False, False], [False, True]]


def test_folders_of_before_and_cells_without_samples_are_left_out(tmp_path: Path) -> None:
    assert found(cell("pgd", [1, 2])) == Explanations((), ())
    assert found(explained(tmp_path, "pgd", [])) == Explanations((), ())
    (table,) = found(cell("fgsm", [1, 2]), explained(tmp_path, "bim", [row("attack", "saliency", "saliency")])).tables
    assert [line.id.attack for line in table.rows] == ["bim"]


@pytest.mark.slow
def test_the_numbers_below_a_pair_are_those_of_its_stored_maps_and_the_page_shows_them(tmp_path: Path) -> None:
    results = write_matrix(tmp_path, attacks=["fgsm"], explain=["saliency", "input_x_gradient"]).parent
    assert run(results / "m.yaml", results=results, device="cpu").exit_code == 0
    (read,) = read_matrix(results / "m").cells
    (gallery,) = galleries([read], 10**7).shown
    maps = read_tensors(read.folder / "gallery.safetensors")
    place = maps["sample_id"].tolist().index(gallery.exhibits[0].sample_id)
    for method, alike in zip(gallery.attributions, gallery.exhibits[0].alike, strict=True):
        expected = likeness(*(maps[f"{method}_{image}"][place : place + 1] for image in ("clean", "adv")))
        for name in ("overlap", "correlation", "structure", "shift"):
            assert getattr(alike, name) == pytest.approx(float(getattr(expected, name)))
    page = report([results / "m"], tmp_path / "m.html").read_text(encoding="utf-8")
    assert f"SSIM {gallery.exhibits[0].alike[0].structure:.2f}" in page
    assert "Agreement between methods" in page
    table = read_table(read.folder / FILE)
    table.loc[table["first"] == "saliency", ["overlap", "correlation", "shift", "found_correlation"]] = float("nan")
    write_table(read.folder / FILE, table)
    write_tensors(read.folder / "gallery.safetensors", maps | {"saliency_adv": 0 * maps["saliency_adv"]})
    page = report([results / "m"], tmp_path / "m.html").read_text(encoding="utf-8")
    assert page.count("a blank map:") == len(gallery.exhibits)
    assert ">blank<" in page
    assert ">nan<" not in page
    (read.folder / FILE).unlink()  # a folder of before
    assert "no cell has compared explanations" in report([results / "m"], tmp_path / "m.html").read_text()
