"""Heat maps: which way they lie, and whose numbers stand on fewer samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from advbench.report.heat_maps import ACROSS, are_tall, heat_maps
from advbench.report.panel import panels
from advbench.report.render import report
from advbench.report.stored import read_matrix
from advbench.store import read_table, write_table
from tests.report.synthetic_results import Plan, write_results

FEW = Plan(n=20, defenses=("none",), attacks=("fgsm", "pgd"))


def test_many_attacks_stand_below_each_other_in_every_map_of_a_matrix(tmp_path: Path) -> None:
    assert not are_tall(panels(read_matrix(write_results(tmp_path / "few", FEW))))
    attacks = tuple(f"attack_{number}" for number in range(ACROSS))  # and a control: one too many
    many = panels(read_matrix(write_results(tmp_path / "many", replace(FEW, attacks=attacks))))
    assert are_tall(many)
    page = report(tmp_path / "many", tmp_path / "many.html").read_text(encoding="utf-8")
    assert page.count('<table class="heatmap tall">') == sum(max(1, len(view.radii)) for view in many)


def test_more_models_than_attacks_stay_rows(tmp_path: Path) -> None:
    attacks = tuple(f"attack_{number}" for number in range(ACROSS))
    plan = replace(FEW, attacks=attacks, defenses=tuple(f"defense {number}" for number in range(ACROSS + 2)))
    assert not are_tall(panels(read_matrix(write_results(tmp_path / "m", plan))))


def test_an_attack_with_an_n_of_its_own_says_so(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "m", FEW)
    cell = next(cell for cell in read_matrix(folder).cells if cell.attack == "fgsm" and cell.id.norm == 2)
    rows = read_table(cell.folder / "samples.parquet")
    rows.loc[rows["sample_id"].isin(rows["sample_id"].unique()[:7]), "status"] = "not_applicable"
    write_table(cell.folder / "samples.parquet", rows)
    linf, l2, _ = panels(read_matrix(folder))
    sizes = {column.method[0]: column.size for column in heat_maps(l2, l2.subjects)[0].attacks}
    assert sizes == {"fgsm": "n = 13", "pgd": "", "loss_ascent": ""}
    assert [one.partial for one in (heat_maps(linf, linf.subjects)[0], heat_maps(l2, l2.subjects)[0])] == [False, True]
    assert heat_maps(l2, l2.subjects)[0].n == 20
