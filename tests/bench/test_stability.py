"""What a cell keeps of its explanations: derived from its rows, only where asked for, and written with the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from advbench.attributions.explain import explain
from advbench.bench import stability as module
from advbench.bench.runner import run
from advbench.bench.stability import COLUMNS, SAMPLES
from advbench.bench.verify import verify
from advbench.store import read_json, read_table, read_tensors
from advbench.types import Json
from tests.bench.tiny_matrix import class_means, leftovers, tables, write_matrix


def stored(results: Path) -> list[pd.DataFrame]:
    return [read_table(path) for path in sorted(results.glob("m/*/explanations.parquet"))]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    names = ["saliency", "input_x_gradient", "grad_cam"]
    matrix = write_matrix(
        folder, attacks=[{"pgd": {"steps": 5}}], controls=[{"random_sign": {"tries": 2}}], explain=names
    )
    assert run(matrix, results=folder, device="cpu", chunk=9).exit_code == 0
    return folder


def test_each_sample_has_a_row_per_method_and_two_per_pair_of_methods(results: Path) -> None:
    for table in stored(results):
        assert {name: str(kind) for name, kind in table.dtypes.items()}.keys() == COLUMNS.keys()
        attacked = table[table["between"] == "attack"]
        assert attacked.groupby("sample_id")["first"].apply(list).map(sorted).map(tuple).unique().tolist() == [
            ("input_x_gradient", "saliency")  # a linear model has no layer for grad_cam
        ]
        assert (attacked["first"] == attacked["second"]).all()
        noise = table[table["between"] == "noise"]
        assert noise[["sample_id", "first"]].to_numpy().tolist() == attacked[["sample_id", "first"]].to_numpy().tolist()
        among = table[~table["between"].isin(["attack", "noise"])]
        assert set(among["between"]) == {"clean", "adversarial"}
        assert len(among) == 2 * attacked["sample_id"].nunique()
        assert attacked["sample_id"].nunique() <= SAMPLES
        assert table[["overlap", "correlation", "structure", "shift"]].notna().all(axis=None)


def test_a_linear_model_has_the_same_saliency_before_and_after(results: Path) -> None:
    for table in stored(results):
        plain = table[(table["between"] == "attack") & (table["first"] == "saliency")]
        assert plain["overlap"].eq(1.0).all()
        assert plain["shift"].abs().max() < 1e-4
        # Another class has another gradient: only where none was found the explained map stays.
        assert plain.loc[~plain["fooled"], "found_overlap"].eq(1.0).all()
        assert plain.loc[plain["fooled"], "found_overlap"].lt(1.0).all()


def test_the_samples_are_the_correct_ones_of_the_largest_radius(results: Path) -> None:
    for path, table in tables(results).items():
        rows = table[(table["eps"] == table["eps"].max()) & table["clean_correct"] & (table["status"] != "invalid")]
        kept = read_table(results / "m" / path / "explanations.parquet")
        expected = sorted(rows["sample_id"])[:SAMPLES]
        assert sorted(kept["sample_id"].unique()) == expected
        fooled = rows.set_index("sample_id")["fooled"]
        assert (kept["fooled"].to_numpy() == fooled.loc[kept["sample_id"]].to_numpy()).all()


def test_the_file_is_committed_with_the_others_and_verified(results: Path) -> None:
    for path in results.glob("m/*/cell.json"):
        record = read_json(path)
        assert isinstance(record, dict)
        files = record["files"]
        assert isinstance(files, dict)
        assert "explanations.parquet" in files
    assert not [finding for finding in verify(results) if finding.wrong]
    assert not leftovers(results)


def test_no_explanations_asked_for_is_no_file_and_the_same_key(tmp_path: Path, results: Path) -> None:
    matrix = write_matrix(tmp_path, attacks=[{"pgd": {"steps": 5}}], controls=[{"random_sign": {"tries": 2}}])
    assert run(matrix, results=tmp_path, device="cpu").exit_code == 0
    assert not stored(tmp_path)
    assert {path.parent.name for path in tmp_path.glob("m/*/cell.json")} == {
        path.parent.name for path in results.glob("m/*/cell.json")
    }


def test_a_crash_while_explaining_leaves_an_unfinished_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = write_matrix(tmp_path, attacks=["fgsm"], explain=["saliency"])

    def breaks(*args: object, **names: object) -> Json:
        raise RuntimeError("the lights went out")

    with monkeypatch.context() as patch:
        patch.setattr(module, "compare", breaks)
        assert run(matrix, results=tmp_path, device="cpu").exit_code != 0
    assert not list(tmp_path.glob("m/*/cell.json"))
    assert run(matrix, results=tmp_path, device="cpu").exit_code == 0
    assert len(stored(tmp_path)) == len(list(tmp_path.glob("m/*/cell.json"))) > 0


def test_explanations_asked_for_later_are_told_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*explain: str) -> str:
        asked = {"explain": list(explain)} if explain else {}
        run(write_matrix(tmp_path, attacks=["fgsm"], **asked), results=tmp_path, device="cpu")  # type: ignore[arg-type]
        return capsys.readouterr().out

    assert "without explain" not in said()
    assert "1 of them were computed without explain: saliency; delete" in said("saliency")
    assert "without explain" not in said()
    for cell in tmp_path.glob("m/*/cell.json"):
        shutil.rmtree(cell.parent)
    assert "without explain" not in said("saliency")
    assert "without explain" not in said("saliency")
    assert "computed without explain: gradient; delete" in said("gradient", "saliency")


def test_parameters_of_an_attribution_are_used_and_told_and_change_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*asked: object) -> str:
        run(write_matrix(tmp_path, attacks=["fgsm"], explain=list(asked)), results=tmp_path, device="cpu")
        return capsys.readouterr().out

    said({"smooth_grad": {"noise": [0.15, 0.5]}}, "rise", {"rise": {"masks": 3}})
    (cell,) = (path.parent for path in tmp_path.glob("m/*/cell.json"))
    names = ["smooth_grad", "smooth_grad noise=0.5", "rise", "rise masks=3"]
    assert read_json(cell / "cell.json")["explain"] == names  # type: ignore[index, call-overload]
    (table,) = stored(tmp_path)
    assert table.loc[table["between"] == "attack", "first"].unique().tolist() == names
    shown = read_tensors(cell / "gallery.safetensors")
    x, y, ids = shown["x"], shown["probabilities_clean"].argmax(1), shown["sample_id"]
    weight, bias = class_means()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    model.load_state_dict({"1.weight": weight, "1.bias": bias})
    assert torch.allclose(shown["rise masks=3_clean"], explain("rise", model, x, y, sample_ids=ids, masks=3), atol=1e-6)
    assert not torch.allclose(shown["rise masks=3_clean"], shown["rise_clean"])
    assert "without explain" not in said("rise")
    assert "1 of them were computed without explain: rise masks=4; delete" in said({"rise": {"masks": 4}}, "rise")
