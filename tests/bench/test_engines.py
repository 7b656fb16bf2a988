"""Engines hand every job to the same function; a process that dies takes its own job only."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from advbench.bench.engines import Ended, in_process, in_workers, on_ray
from advbench.bench.runner import run
from advbench.store import read_json
from advbench.types import ConfigError
from tests.bench.tiny_matrix import plugin, same_tables, tables, write_matrix


def act(job: str) -> tuple[str, int]:
    """A cell function for the engines: what it does stands in the job's name."""
    if job == "leave":
        os._exit(3)
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "fault":
        raise RuntimeError("a fault of the cell function")
    if job == "slow":
        time.sleep(0.3)
    return job, os.getpid()


def wait_for_the_others(job: Path) -> bool:
    """The job "first" lasts until "last" has been at work, or half a minute; returns whether it was."""
    last = job.with_name("last")
    if job.name != "first":
        job.touch()
    deadline = time.monotonic() + 30
    while job.name == "first" and not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return last.exists() or job.name != "first"


def test_in_process_keeps_the_order_and_stays_here() -> None:
    assert list(in_process(["b", "a"], act)) == [Ended("b", ("b", os.getpid())), Ended("a", ("a", os.getpid()))]


@pytest.mark.slow
def test_a_worker_that_dies_takes_one_job_and_is_replaced() -> None:
    ended = dict(in_workers(["one", "leave", "slow", "die", "two", "three"], act, workers=2))
    assert {job for job, result in ended.items() if result is None} == {"leave", "die"}
    processes = {result[1] for result in ended.values() if result is not None}
    assert {result[0] for result in ended.values() if result is not None} == {"one", "slow", "two", "three"}
    assert os.getpid() not in processes


@pytest.mark.slow
def test_a_free_worker_takes_the_last_job_while_the_others_are_busy(tmp_path: Path) -> None:
    jobs = [tmp_path / name for name in ("first", "second", "third", "last")]
    ended = in_workers(jobs, wait_for_the_others, workers=2)
    assert all(result for _, result in ended)


@pytest.mark.slow
def test_a_fault_of_the_cell_function_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="a fault"):
        list(in_workers(["fault"], act, workers=1))


def test_no_jobs_start_no_process() -> None:
    assert list(in_workers([], act, workers=4)) == []


@pytest.mark.slow
def test_workers_give_the_same_rows_and_a_death_fails_its_cell_only(tmp_path: Path) -> None:
    """One process and two: the same rows. An attack that ends its process fails, its neighbours do not."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    attacks: list[object] = ["fgsm", {"pgd": {"steps": 5}}, {"pgd": {"steps": 4, "goal": "random"}}]
    one = run(write_matrix(tmp_path / "one", attacks=attacks), results=tmp_path / "one", device="cpu")
    assert one.exit_code == 0
    with plugin(tmp_path):
        matrix = write_matrix(tmp_path / "two", attacks=["vanishes", "raises", *attacks])
        two = run(matrix, results=tmp_path / "two", device="cpu", workers=2)
    assert two.exit_code == 1
    assert {cell.labels["attack"] for cell in two.failed} == {"vanishes", "raises"}
    assert same_tables(tmp_path / "one", tmp_path / "two")
    died = next(cell for cell in two.failed if cell.labels["attack"] == "vanishes")
    assert "its process died" in read_json(died.folder / "failure.json")["error"]


def test_ray_is_an_extra_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'advbench\[ray\]'"):
        list(on_ray(["a"], act, gpus=0))


@pytest.mark.slow
def test_ray_gives_the_same_rows(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    (tmp_path / "here").mkdir()
    (tmp_path / "ray").mkdir()
    assert run(write_matrix(tmp_path / "here"), results=tmp_path / "here", device="cpu").exit_code == 0
    with plugin(tmp_path):
        matrix = write_matrix(tmp_path / "ray", attacks=["fgsm", {"pgd": {"steps": 5}}, "vanishes"])
        tally = run(matrix, results=tmp_path / "ray", device="cpu", engine="ray")
    assert [cell.labels["attack"] for cell in tally.failed] == ["vanishes"]
    assert len(tables(tmp_path / "ray")) == 2
    assert same_tables(tmp_path / "here", tmp_path / "ray")
