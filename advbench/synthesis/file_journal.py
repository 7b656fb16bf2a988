"""The state of a long run in a folder, so that a killed one goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from advbench.store import read_json, read_tensors, write_json, write_tensors
from advbench.types import ConfigError


class FileJournal:
    """A `core.journal.Journal` in `folder`: a file per descent, written at most every `seconds`.

    identity: what is being made. Raises ConfigError if the folder holds the state of something else. A file is whole or
    absent, so a crash at any moment leaves a state that the next run can go on from.
    """

    def __init__(self, folder: Path, identity: str, *, seconds: float = 20.0) -> None:
        self.folder, self.seconds, self.written = folder, seconds, time.monotonic()
        title = folder / "run.json"
        # A run that stored no state yet has nothing to protect.
        if title.is_file() and any(folder.glob("phase-*.safetensors")):
            known = read_json(title)
            if known != {"identity": identity}:
                raise ConfigError(f"{folder} holds another run, {known}; delete it or choose another --out")
        else:
            write_json(title, {"identity": identity})

    def due(self, step: int) -> bool:
        """Has the last state become old?"""
        return time.monotonic() - self.written >= self.seconds

    def note(self, phase: int, step: int, state: Sequence[Tensor]) -> None:
        """Store the state before `step` of this phase."""
        tensors = {f"{i:03d}": part.detach().clone() for i, part in enumerate(state)}
        write_tensors(self._file(phase), {"step": torch.tensor(step), **tensors})
        self.written = time.monotonic()

    def recall(self, phase: int) -> tuple[int, list[Tensor]] | None:
        """(step, state) as last stored, on the CPU; None if this phase has not begun."""
        if not self._file(phase).is_file():
            return None
        tensors = read_tensors(self._file(phase))
        step = int(tensors.pop("step"))
        return step, [tensors[name] for name in sorted(tensors)]

    def clear(self) -> None:
        """Delete the folder's states: the run is over."""
        for file in (*self.folder.glob("phase-*.safetensors"), self.folder / "run.json"):
            file.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _file(self, phase: int) -> Path:
        return self.folder / f"phase-{phase:03d}.safetensors"
