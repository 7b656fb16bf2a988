"""The commands around a run: what they print and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advbench.cli import main
from advbench.datasets.load import read_as
from advbench.store import read_json, read_table, write_tensors
from tests.bench.tiny_matrix import plugin, write_matrix

Command = Callable[..., int]


@pytest.fixture
def advbench(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Call the command as a shell would; returns its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["advbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code if isinstance(end.value.code, int) else 0

    return call


def test_all_done_is_0_and_every_cell_is_a_line(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert advbench("run", write_matrix(tmp_path), "--results", tmp_path, "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert out.count("done    linear / none / ") == 2
    assert "0.05: " in out
    assert "2 of 2 cells done, 0 failed" in out


def test_some_failed_is_1_and_they_are_named_again_at_the_end(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with plugin(tmp_path):
        matrix = write_matrix(tmp_path, attacks=["raises", "fgsm"])
        assert advbench("run", matrix, "--results", tmp_path, "--device", "cpu") == 1
    out = capsys.readouterr().out
    assert out.count("RuntimeError: this attack is broken") == 2
    assert out.splitlines()[-1] == "1 of 2 cells done, 1 failed"
    assert advbench("status", tmp_path) == 0
    assert "failed   linear / none / raises / linf   RuntimeError: this attack is broken" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", '{"schema": 1, "cel'])
@pytest.mark.parametrize("command", ["status", "verify", "export", "report"])
def test_a_damaged_plan_is_2_and_one_line(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, content: str
) -> None:
    (tmp_path / "matrix.json").write_text(content)
    assert advbench(command, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    assert "matrix.json cannot be read: " in line


def test_a_damaged_cell_is_listed_as_such(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = write_matrix(tmp_path)
    assert advbench("run", matrix, "--results", tmp_path, "--device", "cpu") == 0
    (cell,) = tmp_path.glob("m/*fgsm*/cell.json")
    cell.write_text("")
    capsys.readouterr()
    assert advbench("status", tmp_path) == 0
    out = capsys.readouterr().out
    assert "m: 1 damaged, 1 done" in out
    assert f"damaged  linear / none / fgsm / linf   {cell} cannot be read: it is not JSON" in out
    assert advbench("run", matrix, "--results", tmp_path, "--device", "cpu") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 2 cells done, 1 failed"


@pytest.mark.parametrize("place", ["advbench.bench.runner.expand", "advbench.bench.runner.obtain_models"])
def test_interrupted_before_the_first_cell_is_130_and_a_line(
    advbench: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    assert advbench("run", write_matrix(tmp_path), "--results", tmp_path, "--device", "cpu") == 130
    said = capsys.readouterr().err.strip()
    assert said == "Interrupted. What is stored stays; the same command goes on from there."


@pytest.mark.parametrize(
    "arguments",
    [["--workers", "0"], ["--engine", "slurm"], ["--device", "tpu"], ["--samples", "0"], ["--only", "x=y"], ["--none"]],
)
def test_bad_usage_is_2(advbench: Command, tmp_path: Path, arguments: list[str]) -> None:
    assert advbench("run", write_matrix(tmp_path), "--results", tmp_path / "r", *arguments) == 2
    assert not (tmp_path / "r").exists()


def test_a_bad_matrix_is_2_with_one_line(advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = write_matrix(tmp_path, attacks=["pgdd"])
    assert advbench("run", matrix, "--results", tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "did you mean 'pgd'" in error
    assert len(error.strip().splitlines()) == 1
    assert advbench("run", tmp_path / "nosuch.yaml") == 2


def test_nothing_selected_is_3(advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert advbench("run", write_matrix(tmp_path), "--results", tmp_path, "--only", "attack=cw") == 3
    assert "no cell matches 'attack=cw'" in capsys.readouterr().err


def test_verify_is_0_then_1(advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    advbench("run", write_matrix(tmp_path, attacks=["fgsm"]), "--results", tmp_path, "--device", "cpu")
    assert advbench("verify", tmp_path / "m") == 0
    assert "nothing wrong" in capsys.readouterr().out
    next(tmp_path.glob("m/*/log.txt")).write_text("another log")
    assert advbench("verify", tmp_path / "m") == 1
    assert "WRONG" in capsys.readouterr().out


def test_export_writes_or_prints(advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    advbench("run", write_matrix(tmp_path, attacks=["fgsm"]), "--results", tmp_path, "--device", "cpu")
    capsys.readouterr()
    assert advbench("export", tmp_path) == 0
    assert capsys.readouterr().out.startswith("model,defense,attack,goal,norm,eps,n,")
    assert advbench("export", tmp_path, "--format", "json", "--out", tmp_path / "t.json") == 0
    assert len(json.loads((tmp_path / "t.json").read_text())["rows"]) == 2
    assert advbench("export", tmp_path, "--format", "parquet") == 2
    assert advbench("export", tmp_path / "samples") == 2


def attack_arguments(folder: Path, *more: object) -> list[object]:
    write_matrix(folder)
    given = ["--model", "linear", "--weights", folder / "means.safetensors", "--dataset", "digits"]
    return [*given, "--device", "cpu", "--out", folder / "out", *more]


def test_attack_leaves_a_cell_a_picture_and_a_matrix(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--norm", "inf", "--eps", "8/255", "--samples", "20", "--param", "steps=3"]
    assert advbench("attack", "pgd", *attack_arguments(tmp_path, *more)) == 0
    assert "| linear | none | pgd | untargeted | linf | 8/255 | 20 |" in capsys.readouterr().out
    (cell,) = tmp_path.glob("out/attack/*/cell.json")
    assert read_json(cell)["spec"]["attack"]["params"]["steps"] == 3
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.format == "PNG"
    assert advbench("run", tmp_path / "out" / "attack.yaml", "--results", tmp_path / "again", "--device", "cpu") == 0
    assert len(list(tmp_path.glob("again/attack/*/cell.json"))) == 1


@pytest.mark.slow
def test_what_to_beware_of_is_said_by_attack_each_time_and_by_status(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that passes no gradient on."""
    layers = "nn.Flatten(), nn.Linear(64, 10), nn.Threshold(1e9, 0.0), nn.Linear(10, 10)"
    (tmp_path / "flat.py").write_text(f"from torch import nn\ndef net():\n    return nn.Sequential({layers})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    more = ["--norm", "inf", "--eps", "0.1", "--samples", "40", "--allow-code", "--out", tmp_path / "out"]
    for _ in range(2):
        assert advbench("attack", "bim", "--model", "python:flat:net", "--dataset", "digits", *more) == 0
        assert capsys.readouterr().out.count("no gradient ever reached x on any of the") == 1
    assert advbench("status", tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  done     flat:net / none / bim / linf")
    assert lines[2].strip().startswith("eps 0.1: no gradient ever reached x on any of the")


def test_attack_takes_a_class_as_its_goal(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = attack_arguments(tmp_path, "--eps", "0.1", "--samples", "10", "--goal", "3")
    assert advbench("attack", "fgsm", *asked) == 0
    assert "| fgsm | 3 | linf |" in capsys.readouterr().out


def test_attack_without_out_has_a_folder_for_each_attack_and_finds_it_again(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = attack_arguments(tmp_path, "--samples", "10")
    given = given[: given.index("--out")] + given[given.index("--out") + 2 :]
    for eps in ("0.1", "0.2", "0.1"):
        assert advbench("attack", "fgsm", *given, "--eps", eps) == 0
    assert "1 of 1 cells are stored already" in capsys.readouterr().out
    first, second = (tmp_path / "results" / "attacks").iterdir()
    assert first.name.startswith("fgsm-linear-digits-")
    assert second.name.startswith("fgsm-linear-digits-")
    assert advbench("report", first) == 0
    assert (tmp_path / "reports" / f"{first.name}.html").exists()


def test_attack_takes_the_name_of_a_class_as_its_goal(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a picture's dataset, whose files are not needed for it."""
    Image.fromarray(np.full((40, 30, 3), 128, dtype=np.uint8)).save(tmp_path / "grey.png")
    (tmp_path / "net.json").write_text('[{"name": "net", "layers": [["flatten"], ["linear", 3072, 10]]}]')
    more = ["--model", f"sequential:{tmp_path / 'net.json'}#net", "--dataset", "cifar10", "--norm", "2", "--eps", "2"]
    more += ["--weights", str(tmp_path / "net.safetensors"), "--image", str(tmp_path / "grey.png")]
    write_tensors(tmp_path / "net.safetensors", {"1.weight": torch.zeros(10, 3072), "1.bias": torch.zeros(10)})
    assert advbench("attack", "fgsm", *more, "--goal", "frog", "--out", tmp_path / "out") == 0
    assert "| fgsm | 6 | l2 |" in capsys.readouterr().out
    assert advbench("attack", "fgsm", *more, "--goal", "frogg", "--out", tmp_path / "other") == 2
    assert "no class 'frogg'; did you mean 'frog'?" in capsys.readouterr().err


def test_attack_takes_a_picture_and_leaves_its_class(advbench: Command, tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 30, 3), 128, dtype=np.uint8)).save(tmp_path / "grey.png")
    more = ["--norm", "2", "--eps", "2", "--image", tmp_path / "grey.png"]
    assert advbench("attack", "fgsm", *attack_arguments(tmp_path, *more)) == 0
    (rows,) = tmp_path.glob("out/attack/*/samples.parquet")
    table = read_table(rows)
    assert len(table) == 1
    assert table["clean_correct"].all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--eps", "0.1", "--param", "stepz=3"], "did you mean 'steps'"),
        (["--eps", "0.1", "--param", "steps=many"], "steps must be an integer, got 'many'"),
        (["--eps", "0.1", "--param", "steps"], "expected KEY=VALUE"),
        (["--eps", "300"], "larger than the box"),
        ([], "needs a radius"),
        (["--eps", "0.1", "--goal", "nearest"], "goal"),
        (["--eps", "0.1", "--goal", "99"], "pgd has the goal 99, but the classes are 0 to 9"),
        (["--eps", "0.1", "--image", "nosuch.png"], "there is no such file"),
    ],
)
def test_attack_refuses_before_any_work(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert advbench("attack", "pgd", *attack_arguments(tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "attack.yaml" not in error
    assert not list(tmp_path.glob("out/attack/*"))


def test_the_same_attack_again_finds_everything_stored(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = attack_arguments(tmp_path, "--eps", "0.1", "--samples", "20")
    assert advbench("attack", "fgsm", *arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/attack/*/*")}
    assert advbench("attack", "fgsm", *arguments) == 0
    assert "1 of 1 cells are stored already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/attack/*/*")} == before


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (["fgsm", "--eps", "0.2"], "threats in"),
        (["pgd", "--eps", "0.1"], "attacks in"),
        (["gaussian", "--eps", "0.1"], "attacks, controls in"),
        (["fgsm", "--eps", "0.1", "--seed", "3"], "seed in"),
        (["fgsm", "--eps", "0.1", "--goal", "3"], "attacks in"),
        (["fgsm", "--eps", "0.1", "--budget", "9"], "budget in"),
    ],
)
def test_another_attack_into_the_same_folder_is_refused_and_loses_nothing(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], differs: str
) -> None:
    assert advbench("attack", "fgsm", *attack_arguments(tmp_path, "--samples", "20", "--eps", "0.1")) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert advbench("attack", *more, *attack_arguments(tmp_path, "--samples", "20")) == 2
    error = capsys.readouterr().err
    assert "holds another attack" in error
    assert differs in error
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_an_attack_that_failed_can_be_corrected_in_the_same_folder(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = attack_arguments(tmp_path, "--samples", "20")
    with plugin(tmp_path):
        assert advbench("attack", "raises", *options, "--eps", "0.1") == 1
    assert "this attack is broken" in capsys.readouterr().out
    assert not (tmp_path / "out" / "attack.yaml").exists()
    assert advbench("attack", "fgsm", *options, "--eps", "0.2") == 0
    assert (tmp_path / "out" / "attack.yaml").exists()


def test_an_attack_without_its_radius_leaves_the_folder_free(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = attack_arguments(tmp_path, "--samples", "20")
    assert advbench("attack", "pgd", *options) != 0
    assert "needs a radius" in "".join(capsys.readouterr())
    assert not (tmp_path / "out" / "attack.yaml").exists()
    assert advbench("attack", "pgd", *options, "--eps", "0.1") == 0


def test_a_value_that_the_attack_refuses_leaves_nothing_behind(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = attack_arguments(tmp_path, "--samples", "20", "--eps", "0.1")
    assert advbench("attack", "pgd", *options, "--param", "steps=0") == 2
    assert "pgd: steps must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert advbench("attack", "pgd", *options, "--norm", "0") == 2
    assert not (tmp_path / "out").exists()
    assert advbench("attack", "pgd", *options, "--param", "steps=1") == 0


def test_the_attack_on_another_picture_is_refused(
    advbench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shade in (128, 90):
        Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8)).save(tmp_path / f"{shade}.png")
    arguments = attack_arguments(tmp_path, "--norm", "2", "--eps", "2", "--image")
    assert advbench("attack", "fgsm", *arguments, tmp_path / "128.png") == 0
    before = (tmp_path / "out" / "image.npz").read_bytes()
    assert advbench("attack", "fgsm", *arguments, tmp_path / "90.png") == 2
    assert "holds the attack on another picture" in capsys.readouterr().err
    assert (tmp_path / "out" / "image.npz").read_bytes() == before
    assert advbench("attack", "fgsm", *arguments, tmp_path / "128.png") == 0
    assert (tmp_path / "out" / "image.npz").read_bytes() == before


def test_a_picture_may_be_one_of_a_file_or_a_folder(advbench: Command, tmp_path: Path) -> None:
    """Shape and names come from there; a photograph is cropped, not stretched; fixed weights need no training part."""
    tall = np.zeros((40, 20, 3), dtype=np.uint8)
    tall[15:25, 5:15] = 255  # a square
    Image.fromarray(tall).save(tmp_path / "tall.png")
    images, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4)
    np.savez(tmp_path / "own.npz", images=images, labels=labels, classes=np.array([*"abcdefghij"]))
    arguments = attack_arguments(tmp_path, "--norm", "2", "--eps", "1", "--image", tmp_path / "tall.png")
    arguments[arguments.index("digits")] = f"npz:{tmp_path / 'own.npz'}"
    assert advbench("attack", "fgsm", *arguments) == 0
    stored = np.load(tmp_path / "out" / "image.npz")
    assert stored["images"].shape == (1, 1, 8, 8)
    assert [*stored["classes"]] == [*"abcdefghij"]
    photo = read_as(tmp_path / "tall.png", "imagenet", (3, 224, 224))[0] > 0.5
    assert int(photo.any(0).sum()) == int(photo.any(1).sum())  # still a square


def test_a_mistake_leaves_no_file_of_an_attack(advbench: Command, tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), 90, dtype=np.uint8)).save(tmp_path / "grey.png")
    arguments = attack_arguments(tmp_path, "--norm", "2", "--eps", "999", "--image", tmp_path / "grey.png")
    assert advbench("attack", "fgsm", *arguments) == 2
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
