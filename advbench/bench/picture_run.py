"""A picture in the making: progress, previews, and a state in a folder from which an interrupted run goes on."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from torch import Tensor
from tqdm import tqdm

from advbench.bench.picturing import PLACES, Materials, make
from advbench.core.journal import Frame, running
from advbench.synthesis.file_journal import FileJournal
from advbench.types import Json, content_key

Preview = Callable[[str, Tensor], None]  # (name such as "phase-0-step-0050", images) -> written somewhere


@dataclass(frozen=True, eq=False)
class Asked:
    """A picture that was asked for: method, materials, parameters, seed, how many, and the command in words."""

    method: str
    materials: Materials
    params: Mapping[str, Json]
    seed: int
    count: int
    words: str

    @property
    def key(self) -> str:
        """Tells this picture from every other: pictures and weights count by what they hold."""
        materials = {what: _content(getattr(self.materials, what)) for what in sorted({w for w, _ in PLACES.values()})}
        return content_key([self.method, materials, self.params, self.seed, self.count])


def run_picture(asked: Asked, out: Path, *, every: int | None = None, preview: Preview | None = None) -> Tensor:
    """The pictures (B, C, H, W), with a bar per descent and previews every so many steps.

    The state of the run lies in the folder OUT.run until it is done: the same call goes on from there.
    """
    journal = FileJournal(out.with_name(f"{out.name}.run"), asked.key)
    with progress() as bar:

        def watch(frame: Frame) -> None:
            bar(frame, "")
            if every and preview and frame.step % every == 0:
                preview(f"phase-{frame.phase:02d}-step-{frame.step:04d}", frame.image())

        images = make_picture(asked, journal, watch)
    journal.clear()
    return images


def make_picture(asked: Asked, journal: FileJournal, watch: Callable[[Frame], None]) -> Tensor:
    """The pictures (B, C, H, W), from the state in the journal on; `watch` sees every step."""
    with running(watch, journal):
        return make(asked.method, asked.materials, asked.params, seed=asked.seed, count=asked.count)


def picture_facts(asked: Asked) -> dict[str, str]:
    """What the file says about itself."""
    return {
        "Title": f"advbench picture: {asked.method}",
        "Software": f"advbench {version('advbench')}",
        "Command": asked.words,
        "Seed": str(asked.seed),
        "Versions": f"Python {platform.python_version()}, torch {version('torch')}",
    }


@contextmanager
def progress() -> Iterator[Callable[[Frame, str], None]]:
    """A progress bar for each phase, on a terminal; a line per phase elsewhere. It hears of what it is a step."""
    bar: tqdm[NoReturn] | None = None
    shown = ("", -1)

    def show(frame: Frame, what: str) -> None:
        nonlocal bar, shown
        if (what, frame.phase) != shown:
            if bar is not None:
                bar.close()
            shown = (what, frame.phase)
            name = f"{what}phase {frame.phase + 1}"
            quiet = not sys.stderr.isatty()
            bar = tqdm(total=frame.steps, desc=name, leave=False, disable=quiet)
            if quiet:
                print(f"{name}: {frame.steps} steps", file=sys.stderr)
        assert bar is not None
        bar.update(frame.step + 1 - bar.n)
        if not bar.disable and frame.step % 10 == 0:
            bar.set_postfix(loss=f"{float(frame.loss.mean()):.4g}")

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _content(value: object) -> Json:
    """What a material holds, as text."""
    if isinstance(value, Tensor):
        return hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, tuple) and all(isinstance(part, Tensor) for part in value):
        return [_content(part) for part in value]
    if hasattr(value, "state_dict"):
        parts = [[name, _content(tensor)] for name, tensor in value.state_dict().items()]
        return content_key([type(value).__name__, parts])
    return str(value)
