"""A run's state in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from advbench.core.descent import descend
from advbench.core.journal import Frame, running
from advbench.core.objectives import excite
from advbench.core.step_rules import adam
from advbench.synthesis.file_journal import FileJournal
from advbench.types import ConfigError


def climb(watch: object = None) -> torch.Tensor:
    z = torch.linspace(-1.0, 1.0, 6).reshape(2, 3)
    objective = excite(lambda z: -(z - 0.3).square().flatten(1).sum(1))
    with running(watch):  # type: ignore[arg-type]
        return descend(z, objective, step=adam(0.05), steps=9, stop=None).z


def test_a_killed_run_goes_on_from_its_file_and_leaves_nothing(tmp_path: Path) -> None:
    whole, folder = climb(), tmp_path / "cat.png.run"
    z = torch.linspace(-1.0, 1.0, 6).reshape(2, 3)
    objective = excite(lambda z: -(z - 0.3).square().flatten(1).sum(1))
    seen: list[int] = []

    def kill(frame: Frame) -> None:
        seen.append(frame.step)
        if len(seen) == 6:
            raise KeyboardInterrupt

    for _ in range(2):
        journal = FileJournal(folder, "cat", seconds=0.0)
        try:
            with running(kill, journal):
                found = descend(z, objective, step=adam(0.05), steps=9, stop=None).z
        except KeyboardInterrupt:
            continue
    assert torch.equal(found, whole)
    assert seen == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8]
    journal.clear()
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_run_is_not_taken_up(tmp_path: Path) -> None:
    FileJournal(tmp_path / "run", "dream, seed 2")  # stored nothing: nothing to protect
    FileJournal(tmp_path / "run", "dream, seed 0").note(0, 3, [torch.zeros(2)])
    assert FileJournal(tmp_path / "run", "dream, seed 0").recall(0) is not None
    with pytest.raises(ConfigError, match=r"another run.*dream, seed 0"):
        FileJournal(tmp_path / "run", "dream, seed 1")


def test_an_old_state_is_due(tmp_path: Path) -> None:
    assert FileJournal(tmp_path / "a", "x", seconds=0.0).due(3)
    assert not FileJournal(tmp_path / "b", "x", seconds=1e6).due(3)
