"""A run computes what is missing, a failing cell is its own, and nothing about how it ran is in the rows."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
from math import inf
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from advbench.bench import run_cell as cell_module
from advbench.bench.evaluate import evaluate
from advbench.bench.runner import run
from advbench.bench.scene import Assault, Execution
from advbench.datasets.load import load_samples
from advbench.models.load import load_model
from advbench.store import file_hash, read_json, read_table, read_tensors
from advbench.types import ConfigError, Outcomes, ThreatModel
from tests.bench.tiny_matrix import class_means, leftovers, plugin, same_tables, tables, write_matrix


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the tiny matrix, run at once."""
    folder = tmp_path_factory.mktemp("reference")
    assert run(write_matrix(folder), results=folder / "results", device="cpu").exit_code == 0
    return folder / "results"


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 7, 16, 40])
def test_chunks_do_not_change_the_rows(tmp_path: Path, reference: Path, chunk: int) -> None:
    assert run(write_matrix(tmp_path), results=tmp_path, device="cpu", chunk=chunk).exit_code == 0
    assert same_tables(tmp_path, reference)


def test_a_cell_holds_what_it_says(reference: Path) -> None:
    for folder in (path.parent for path in reference.glob("m/*/cell.json")):
        cell = read_json(folder / "cell.json")
        assert cell["key"][:8] == folder.name[-8:]
        assert {name: file_hash(folder / name) for name in cell["files"]} == cell["files"]
        assert {path.name for path in folder.iterdir()} - {".lock"} == {*cell["files"], "cell.json"}
        assert cell["eps"] == ["0.05", "1/10"]
        assert [row["n"] for row in cell["summary"]] == [40, 40]
        assert str(Path.home()) not in json.dumps(cell["provenance"]) or str(Path.home()) == "/"


def test_rows_are_eps_major_and_examples_belong_to_their_rows(reference: Path) -> None:
    for name, table in tables(reference).items():
        assert table["eps"].tolist() == [0.05] * 40 + [0.1] * 40
        assert table["sample_id"][:40].is_monotonic_increasing
        assert table["sample_id"][:40].tolist() == table["sample_id"][40:].tolist()
        stored = read_tensors(reference / "m" / name / "examples.safetensors")
        mine = table.iloc[stored["row"].numpy()]
        assert (mine["fooled"] & mine["clean_correct"] & (mine["evidence"] == "run")).all()
        assert len(mine) == (table["fooled"] & table["clean_correct"] & (table["evidence"] == "run")).sum() > 0
        weight, bias = class_means()
        found = (stored["x_adv"].flatten(1) @ weight.T + bias).argmax(1)
        assert found.tolist() == mine["adv_pred"].tolist()


def test_the_matrix_and_its_samples_are_stored(reference: Path) -> None:
    matrix = read_json(reference / "m" / "matrix.json")
    assert {cell["folder"] for cell in matrix["cells"]} == set(tables(reference))
    (samples,) = (reference / "samples").glob("*.json")
    assert read_json(samples)["ids"] == next(iter(tables(reference).values()))["sample_id"][:40].tolist()


def test_a_second_run_computes_nothing(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(cell_module, "evaluate_grid", refuse)
    tally = run(reference.parent / "m.yaml", results=reference, device="cpu")
    assert tally.exit_code == 0
    assert [cell.status for cell in tally.cells] == ["stored", "stored"]


def test_a_failing_cell_fails_alone_and_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with plugin(tmp_path):
        matrix = write_matrix(tmp_path, attacks=["raises", "fgsm"])
        tally = run(matrix, results=tmp_path, device="cpu")
        assert tally.exit_code == 1
        assert sorted(cell.status for cell in tally.cells) == ["done", "failed"]
        (failure,) = tally.failed
        assert "this attack is broken" in capsys.readouterr().out
        note = read_json(failure.folder / "failure.json")
        assert note["error"] == "RuntimeError: this attack is broken"
        assert "misbehaving.py" in note["traceback"]
        (tmp_path / "mended").touch()
        again = run(matrix, results=tmp_path, device="cpu")
        assert again.exit_code == 0
        assert sorted(cell.status for cell in again.cells) == ["done", "stored"]
        assert not (failure.folder / "failure.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"summary": [1]}'])
def test_a_damaged_cell_fails_alone_and_nothing_in_it_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    matrix = write_matrix(tmp_path, attacks=["fgsm", {"pgd": {"steps": 2}}, {"bim": {"steps": 2}}])
    run(matrix, results=tmp_path, device="cpu", only="attack=fgsm")
    run(matrix, results=tmp_path, device="cpu", only="attack=bim")
    (damaged,) = (tmp_path / "m").glob("*fgsm*")
    (damaged / "cell.json").write_text(content)
    before = {path: path.read_bytes() for path in damaged.iterdir()}
    capsys.readouterr()
    tally = run(matrix, results=tmp_path, device="cpu")
    assert tally.exit_code == 1
    assert {cell.labels["attack"]: cell.status for cell in tally.cells} == {
        "fgsm": "failed",
        "pgd": "done",
        "bim": "stored",
    }
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("failed")]
    assert f"{damaged / 'cell.json'} cannot be read: it is no" in line
    assert "delete the folder of the cell, and the next run makes it again" in line
    assert "1 of 3 cells are stored already" in said
    assert {path: path.read_bytes() for path in damaged.iterdir()} == before
    shutil.rmtree(damaged)
    again = run(matrix, results=tmp_path, device="cpu")
    assert (again.exit_code, sorted(cell.status for cell in again.cells)) == (0, ["done", "stored", "stored"])


def test_a_damaged_chunk_fails_its_cell_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = write_matrix(tmp_path, attacks=["fgsm"])
    with monkeypatch.context() as patch:
        patch.setattr(cell_module, "read_chunks", lambda *_: 1 / 0)
        assert run(matrix, results=tmp_path, device="cpu", chunk=20).exit_code == 1
    (chunk,) = tmp_path.glob("m/*/chunks/00000.parquet")
    chunk.write_bytes(b"")
    tally = run(matrix, results=tmp_path, device="cpu", chunk=20)
    assert tally.cells[0].error.startswith(f"{chunk} cannot be read: ")
    assert "delete the folder of the cell" in tally.cells[0].error


@pytest.mark.slow
@pytest.mark.parametrize("call", range(12))
def test_a_full_disk_ends_the_run_and_leaves_whole_files_only(
    tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch, call: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full from the `call`-th of 12 files on; with room again, the next run ends with the same rows."""
    matrix = write_matrix(tmp_path, attacks=["fgsm"])
    writes = 0
    sync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes > 1 + 2 * call:  # the probe; then two per file: its bytes and its folder
            raise OSError(errno.ENOSPC, "no space left")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        tally = run(matrix, results=tmp_path, device="cpu", chunk=20)
    assert tally.exit_code == 2
    assert re.search("disk full while writing .*; nothing half-written: free space and run", capsys.readouterr().err)
    assert leftovers(tmp_path) == []
    assert run(matrix, results=tmp_path, device="cpu", chunk=20).exit_code == 0
    ((name, table),) = tables(tmp_path).items()
    assert table.equals(tables(reference)[name])
    assert leftovers(tmp_path) == []


@pytest.mark.slow
def test_memory_that_runs_out_halves_the_micro_batch(
    tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int | None] = []
    real = cell_module.evaluate_grid

    def limited(
        model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, ids: torch.Tensor, *,
        assault: Assault, norm: float, grid: object, execution: Execution,
    ) -> Outcomes:  # fmt: skip
        sizes.append(execution.micro_batch)
        if (execution.micro_batch or len(x)) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, x, y, ids, assault=assault, norm=norm, grid=grid, execution=execution)

    monkeypatch.setattr(cell_module, "evaluate_grid", limited)
    assert run(write_matrix(tmp_path), results=tmp_path, device="cpu", chunk=20, micro_batch=40).exit_code == 0
    assert sizes[:4] == [40, 10, 5, 5]
    assert same_tables(tmp_path, reference)
    assert all(read_json(path)["provenance"]["micro_batch"] == 5 for path in tmp_path.glob("m/*/cell.json"))


@pytest.mark.slow
def test_memory_that_does_not_suffice_for_one_sample_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cell_module, "evaluate_grid", never)
    tally = run(write_matrix(tmp_path, attacks=["fgsm"]), results=tmp_path, device="cpu", chunk=20)
    assert [cell.status for cell in tally.cells] == ["failed"]
    assert "out of memory" in tally.cells[0].error


@pytest.mark.slow
def test_a_cell_of_another_run_is_waited_for(tmp_path: Path, reference: Path) -> None:
    matrix = write_matrix(tmp_path)
    name = next(iter(tables(reference)))
    (tmp_path / "m" / name).mkdir(parents=True)
    lock = FileLock(tmp_path / "m" / name / ".lock", thread_local=False)
    lock.acquire()
    timer = threading.Timer(0.8, lock.release)
    timer.start()
    tally = run(matrix, results=tmp_path, device="cpu")
    timer.join()
    assert [cell.status for cell in tally.cells] == ["done", "done"]
    assert tally.cells[-1].folder.name == name
    assert same_tables(tmp_path, reference)


def test_only_selects_and_nothing_selected_is_said(tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path)
    assert len(run(matrix, results=tmp_path, device="cpu", only="attack=pg?,norm=linf").cells) == 1
    assert len(read_json(tmp_path / "m" / "matrix.json")["cells"]) == 2
    nothing = run(matrix, results=tmp_path, device="cpu", only="attack=nosuch")
    assert nothing.exit_code == 3
    assert "no cell matches" in nothing.reason


def test_samples_replaces_the_count(tmp_path: Path) -> None:
    tally = run(write_matrix(tmp_path, attacks=["fgsm"]), results=tmp_path, device="cpu", samples=10)
    assert tally.cells[0].summary[0]["n"] == 10


BAD = [{"workers": 0}, {"chunk": 0}, {"micro_batch": 0}, {"engine": "locl"}, {"device": "tpu"}, {"only": "atack=x"}]


@pytest.mark.parametrize("bad", BAD)
def test_bad_usage_is_refused_before_anything_is_written(tmp_path: Path, bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        run(write_matrix(tmp_path), results=tmp_path / "results", **bad)
    assert not (tmp_path / "results").exists()


def test_a_model_that_answers_probabilities_is_refused_before_any_cell(tmp_path: Path) -> None:
    (tmp_path / "softened.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        matrix = write_matrix(tmp_path, models=["python:softened:make", "linear"])
        with pytest.raises(ConfigError, match="probabilit"):
            run(matrix, results=tmp_path, device="cpu", allow_code=True)
    assert tables(tmp_path) == {}
    assert not (tmp_path / "models").exists()


def test_a_training_that_fails_takes_only_its_own_cells(tmp_path: Path) -> None:
    models = [{"linear": {"weights": "means.safetensors"}}, "mlp"]
    defenses = [{"none": {"epochs": 1, "lr": 1e30, "optimizer": "sgd", "schedule": "constant"}}]
    tally = run(write_matrix(tmp_path, models=models, defenses=defenses), results=tmp_path, device="cpu")
    assert tally.exit_code == 1
    by_model = {(cell.labels["model"], cell.status) for cell in tally.cells}
    assert {status for model, status in by_model if model == "mlp"} == {"failed"}
    assert {status for model, status in by_model if model != "mlp"} == {"done"}
    assert all("could not be trained" in cell.error for cell in tally.failed)


def test_a_perturbation_for_all_is_learned_on_the_images_that_the_matrix_names(tmp_path: Path) -> None:
    """The cell holds what the attack itself makes of these images; with a class as its goal they are to reach it."""
    matrix = write_matrix(
        tmp_path, attacks=[{"universal": {"images": {"name": "digits", "count": 30}, "goal": ["untargeted", 3]}}],
        threats=[{"norm": "inf", "eps": ["0.25"]}],
    )  # fmt: skip
    assert run(matrix, results=tmp_path, device="cpu").exit_code == 0
    weight, bias = class_means()
    model = load_model("linear", dataset="digits")
    model.load_state_dict({"1.weight": weight, "1.bias": bias})
    x, y = load_samples("digits", count=40)
    school, _ = load_samples("digits", split="train", count=30)
    for goal, params in (("untargeted", {}), ("3", {"labels": torch.full((30,), 3)})):
        ((_, table),) = [
            (path, read_table(path))
            for path in tmp_path.glob("m/*/samples.parquet")
            if ("-3-" in str(path)) == bool(params)
        ]
        ids = torch.tensor(table["sample_id"].to_numpy())
        own = evaluate(
            model,
            x,
            y,
            attack="universal",
            threat=ThreatModel(inf, 0.25),
            goal=goal,
            sample_ids=ids,
            images=school,
            **params,
        )
        assert table["fooled"].tolist() == own.fooled.tolist()
        assert 0 < int(own.fooled.sum()) < 40


def test_another_matrix_of_the_same_name_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for place, attack in (("one", "fgsm"), ("one", "fgsm"), ("two", "bim")):
        (tmp_path / place).mkdir(exist_ok=True)
        run(write_matrix(tmp_path / place, attacks=[attack]), results=tmp_path / "results", device="cpu")
        said.append("held the matrix" in capsys.readouterr().out)
    assert said == [False, False, True]
    assert len(list(tmp_path.glob("results/m/*/cell.json"))) == 2
