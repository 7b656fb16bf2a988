"""A run that is killed or interrupted at any moment, however often, ends with the rows of one that was not."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from advbench.bench.runner import run
from tests.bench.tiny_matrix import leftovers, same_tables, write_matrix

KILLS = int(os.environ.get("ADVBENCH_KILLS", "30"))
CHUNK = 4
ATTACKS: list[object] = [{"pgd": {"steps": 20}}, {"pgd": {"steps": 20, "goal": "next"}}]
PROGRAM = """
from advbench.cli import main
main()
"""


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_rows(tmp_path: Path) -> None:
    """SIGKILL at seeded random moments, KILLS times; whenever a run gets to its end, a new folder is begun."""
    # A server that has imported everything forks each run in a moment, and has no threads that a fork would lose.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["advbench.bench.runner", "torchvision", "torch._dynamo", "sklearn.datasets"])
    matrix = write_matrix(tmp_path, attacks=ATTACKS)

    def start(results: Path) -> multiprocessing.process.BaseProcess:
        options = {"results": results, "device": "cpu", "chunk": CHUNK}
        process = processes.Process(target=run, args=(matrix,), kwargs=options)
        process.start()
        return process

    start(tmp_path / "warm").join()
    begin = time.perf_counter()
    start(tmp_path / "reference").join()
    whole = time.perf_counter() - begin
    moments = random.Random(0)
    kills = finished = 0
    while kills < KILLS or not same_tables(tmp_path / f"killed{finished}", tmp_path / "reference"):
        results = tmp_path / f"killed{finished}"
        process = start(results)
        process.join(moments.uniform(0, whole / 2) if kills < KILLS else None)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
        else:
            assert process.exitcode == 0
            assert same_tables(results, tmp_path / "reference")
            assert leftovers(results) == []
            finished += kills < KILLS
    assert kills == KILLS


def test_resuming_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks are stored, the third is interrupted: the next run computes the other eight only."""
    from advbench.bench import run_cell as module

    real, computed = module.evaluate_grid, []

    def counted(*args: object, **kwargs: object) -> object:
        computed.append(1)
        if len(computed) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "evaluate_grid", counted)
    matrix = write_matrix(tmp_path, attacks=["fgsm"])
    tally = run(matrix, results=tmp_path / "stopped", device="cpu", chunk=CHUNK)
    assert tally.exit_code == 143
    assert len(computed) == 3
    assert run(matrix, results=tmp_path / "stopped", device="cpu", chunk=CHUNK).exit_code == 0
    assert len(computed) == 10
    assert run(matrix, results=tmp_path / "whole", device="cpu", chunk=CHUNK).exit_code == 0
    assert same_tables(tmp_path / "stopped", tmp_path / "whole")


def test_chunks_of_another_size_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from advbench.bench import run_cell as module

    real, computed = module.write_chunk, []

    def stop_after_two(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        computed.append(1)
        if len(computed) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module, "write_chunk", stop_after_two)
    matrix = write_matrix(tmp_path, attacks=["fgsm"])
    assert run(matrix, results=tmp_path / "stopped", device="cpu", chunk=3).exit_code == 130
    assert run(matrix, results=tmp_path / "stopped", device="cpu", chunk=16).exit_code == 0
    assert run(matrix, results=tmp_path / "whole", device="cpu").exit_code == 0
    assert same_tables(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_a_signal_ends_the_command_and_says_how_to_go_on(tmp_path: Path, signum: int, workers: int) -> None:
    # Minutes of work: the signal must not come too late, however busy the machine is.
    many = [{"pgd": {"steps": steps, "goal": goal}} for steps in range(500, 520) for goal in range(10)]
    matrix = write_matrix(tmp_path, attacks=many, data={"name": "digits", "count": 300})
    command = ["run", str(matrix), "--results", str(tmp_path), "--device", "cpu", "--workers", str(workers)]
    # What a pipe gets by default, whatever the shell of this test says: lines must come at once all the same.
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=buffered,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("done")
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, err
    assert "go on with: advbench run" in err
    assert "Traceback" not in err
    assert 0 < len(list(tmp_path.glob("m/*/cell.json"))) < len(many)
    assert leftovers(tmp_path) == []
