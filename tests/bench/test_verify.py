"""Verification is quiet about what is whole and names what is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from advbench.bench.runner import run
from advbench.bench.verify import verify
from advbench.cli import cli
from advbench.store import file_hash, read_json, read_table, read_tensors, write_json, write_table, write_tensors
from tests.bench.tiny_matrix import write_matrix


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert run(write_matrix(folder, attacks=["fgsm"]), results=folder / "results", device="cpu").exit_code == 0
    return folder / "results"


@pytest.fixture
def cell(whole: Path, tmp_path: Path) -> Path:
    """The folder of the one cell, in a copy of the results."""
    shutil.copytree(whole, tmp_path / "results")
    return next((tmp_path / "results").glob("m/*/cell.json")).parent


def messages(cell: Path) -> list[str]:
    return [finding.message for finding in verify(cell.parents[1]) if finding.wrong]


def rehash(cell: Path) -> None:
    """Make the hashes fit again, as someone who tampers would."""
    record = read_json(cell / "cell.json")
    write_json(cell / "cell.json", record | {"files": {name: file_hash(cell / name) for name in record["files"]}})


def test_an_untouched_result_is_good_and_was_judged_again(cell: Path) -> None:
    assert list(verify(cell.parents[1])) == []
    assert len(read_tensors(cell / "examples.safetensors")["row"]) > 0


@pytest.mark.parametrize("name", ["samples.parquet", "examples.safetensors", "gallery.safetensors", "log.txt"])
def test_a_changed_byte_is_found_in_each_file(cell: Path, name: str) -> None:
    content = bytearray((cell / name).read_bytes())
    content[len(content) // 2] ^= 1
    (cell / name).write_bytes(content)
    assert any(f"{name} is not the file that was stored" in message for message in messages(cell))


def test_a_missing_file_is_found(cell: Path) -> None:
    (cell / "gallery.safetensors").unlink()
    assert messages(cell) == ["gallery.safetensors is missing"]


@pytest.mark.parametrize("size", [0, 200])
@pytest.mark.parametrize("name", ["cell.json", "samples.parquet", "examples.safetensors", "gallery.safetensors"])
def test_a_truncated_file_is_one_problem(cell: Path, name: str, size: int) -> None:
    (cell / name).write_bytes((cell / name).read_bytes()[:size])
    (message,) = messages(cell)
    assert message.startswith(f"{name} {'cannot be read: it is not' if name == 'cell.json' else 'is not the file'}")


def test_the_way_to_mend_is_said_once(cell: Path) -> None:
    good = CliRunner().invoke(cli, ["verify", str(cell.parents[1])])
    (cell / "samples.parquet").unlink()
    (cell / "log.txt").unlink()
    bad = CliRunner().invoke(cli, ["verify", str(cell.parents[1])])
    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "delete the folder" not in good.output
    assert bad.output.count("WRONG") == 3
    assert bad.output.endswith(
        "To mend what is WRONG, delete the folder of the cell, and the next run makes it again.\n"
    )


def test_a_better_summary_than_the_rows_is_found(cell: Path) -> None:
    record = read_json(cell / "cell.json")
    record["summary"][1]["robust_accuracy"] = 0.99
    write_json(cell / "cell.json", record)
    assert messages(cell) == ["cell.json: at eps 1/10 the samples do not give the stored robust_accuracy"]


def test_rows_turned_robust_are_found(cell: Path) -> None:
    table = read_table(cell / "samples.parquet")
    lost = table.index[table["status"] == "fooled"][0]
    table.loc[lost, ["fooled", "status"]] = [False, "held"]
    write_table(cell / "samples.parquet", table)
    rehash(cell)
    assert any("does not hold the examples" in message for message in messages(cell))


def test_another_spec_under_the_same_key_is_found(cell: Path) -> None:
    record = read_json(cell / "cell.json")
    record["spec"]["seed"] = 99
    write_json(cell / "cell.json", record)
    assert any("the key does not belong" in message for message in messages(cell))


def test_examples_that_fool_nobody_are_found_by_judging_again(cell: Path) -> None:
    stored = read_tensors(cell / "examples.safetensors")
    write_tensors(cell / "examples.safetensors", stored | {"x_adv": stored["x_adv"].flip(0)})
    rehash(cell)
    found = messages(cell)
    assert any("differ in distance" in message for message in found)
    assert any("differ in being finite, in the box or in the ball" in message for message in found)


def test_what_cannot_be_judged_again_is_noted_but_not_wrong(cell: Path) -> None:
    record = read_json(cell.parent / "matrix.json")
    write_json(cell.parent / "matrix.json", record | {"file": str(cell / "gone.yaml")})
    (note,) = verify(cell.parents[1])
    assert not note.wrong
    assert "is gone" in note.message


def test_a_plan_that_lacks_what_is_needed_is_noted(cell: Path) -> None:
    path = cell.parent / "matrix.json"
    record = read_json(path)
    assert isinstance(record, dict)
    for name in ("file", "data"):
        write_json(path, {key: value for key, value in record.items() if key != name})
        (note,) = verify(cell.parents[1])
        assert not note.wrong
        assert "matrix.json does not say what was planned" in note.message
