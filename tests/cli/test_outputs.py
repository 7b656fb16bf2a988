"""Where a command is to write is tried before any work: no room, no leave, exit code 2, nothing half-written."""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from advbench.bench.config import load_matrix
from advbench.bench.matrix import expand
from advbench.bench.room import bytes_needed
from advbench.cli import COMMANDS
from advbench.cli.outputs import OUT_FILE, OUT_FOLDER
from tests.bench.tiny_matrix import leftovers, same_tables, write_matrix

MAIN = "from advbench.cli import main; main()"
READERS = ("plan",)  # its --results is looked into only


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_names_an_output_is_tried_at_once(name: str) -> None:
    module, function = COMMANDS[name].split(":")
    command = getattr(importlib.import_module(module), function)
    members = command.commands.values() if isinstance(command, click.Group) else [command]
    outputs = [option for member in members for option in member.params if option.name in ("out", "results")]
    if name not in READERS:
        assert all(option.type in (OUT_FILE, OUT_FOLDER) for option in outputs)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "linear", "--dataset", "digits", "--out", "{}/x.safetensors"],
        ["attack", "fgsm", "--model", "linear", "--dataset", "digits", "--eps", "0.1", "--out", "{}/x"],
        ["report", "{here}", "--out", "{}/page.html"],
        ["export", "{here}", "--out", "{}/table.csv"],
        ["explain", "saliency", "--model", "linear", "--dataset", "digits", "--out", "{}/maps.png"],
        ["picture", "dream", "--model", "linear", "--out", "{}/dream.png"],
    ],
)
def test_an_output_below_a_file_is_2_before_any_work(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "file").touch()
    words = [word.format(tmp_path / "file", here=tmp_path) for word in arguments]
    ended = advbench(words)
    assert ended.returncode == 2, ended.stderr
    assert f"cannot write into {tmp_path / 'file'}" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_limit_that_no_file_fits_in_is_2_before_any_work(tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path)
    ended = advbench(["run", matrix, "--results", tmp_path / "r"], preexec_fn=_no_file_grows)
    assert ended.returncode == 2, ended.stderr
    assert f"cannot write into {tmp_path / 'r'}: File too large" in ended.stderr
    assert not (tmp_path / "r").exists()


def test_room_is_compared_with_what_the_plan_stores(tmp_path: Path) -> None:
    """40 digits of 64 pixels: 2 attacks keep 10240 bytes each, and the last cell in work twice that; 2 radii a row."""
    jobs = expand(load_matrix(write_matrix(tmp_path))).jobs
    assert bytes_needed(jobs) == 2 * 10240 + 2 * 10240 + 2 * 2 * 40 * 250
    assert bytes_needed([]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", ["32k", "200k", "800k", "1500k"])
def test_a_real_disk_that_fills_ends_with_2_and_with_room_the_run_resumes(tmp_path: Path, size: str) -> None:
    """Memory disks of four sizes: full before the work, in a training, between its epochs, in the cells."""
    trained = {"models": ["mlp"], "defenses": [{"none": {"epochs": 2}}]}
    matrix = write_matrix(tmp_path, **trained)
    disk, saved = tmp_path / "disk", tmp_path / "saved"
    disk.mkdir()
    words = ["-c", MAIN, "run", matrix, "--results", disk, "--device", "cpu"]
    script = f'mount -t tmpfs -o size={size} none {disk} || exit 77\n"$@"; code=$?; cp -r {disk} {saved}; exit $code'
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if (ended.returncode in (1, 77) and "unshare" in ended.stderr + ended.stdout) or ended.returncode == 77:
        pytest.skip("this machine lets no user mount a disk in memory")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "no room in" in ended.stderr or "disk full while writing" in ended.stderr
    assert leftovers(saved) == []
    assert advbench(["run", matrix, "--results", saved, "--device", "cpu"]).returncode == 0
    assert advbench(["run", matrix, "--results", tmp_path / "whole", "--device", "cpu"]).returncode == 0
    assert same_tables(saved, tmp_path / "whole")


def advbench(words: list[object], preexec_fn: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, words)],
        capture_output=True, text=True, check=False, preexec_fn=preexec_fn,
    )  # fmt: skip


def _no_file_grows() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
