"""How a long descent is watched and taken up again: told by the loop, heard by whoever runs it.

Phases are the descents of one run, counted in order (octaves of a dream, sizes of a style transfer). A journal that
remembers the finished ones and the state in the middle of the last makes a run go on where it was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

Decode = Callable[[Tensor], Tensor]  # free variables (A, ...) -> images (A, C, H, W)


@dataclass(frozen=True, eq=False)
class Frame:
    """A step of a descent: its number, how many there will be, the loss (A,) and, on demand, the images."""

    phase: int
    step: int
    steps: int
    loss: Tensor
    image: Callable[[], Tensor]


class Journal(Protocol):
    """Keeps the state of a run: `recall` gives what `note` was last told about a phase, or None."""

    def due(self, step: int) -> bool:
        """Should this step be noted?"""

    def note(self, phase: int, step: int, state: Sequence[Tensor]) -> None: ...

    def recall(self, phase: int) -> tuple[int, list[Tensor]] | None: ...


Watcher = Callable[[Frame], None]


@dataclass
class _Run:
    watch: Watcher | None
    journal: Journal | None
    phases: int = 0
    decodes: list[Decode] = field(default_factory=list)
    tallies: list[Tensor] = field(default_factory=list)


_RUN: ContextVar[_Run | None] = ContextVar("run", default=None)
_STEP: ContextVar[int] = ContextVar("step", default=0)


@contextmanager
def running(watch: Watcher | None = None, journal: Journal | None = None) -> Iterator[None]:
    """Inside, `watch` sees every step of every descent, and `journal` keeps their state."""
    token = _RUN.set(_Run(watch, journal))
    try:
        yield
    finally:
        _RUN.reset(token)


@contextmanager
def shown_by(decode: Decode) -> Iterator[None]:
    """Inside, the free variables of a descent stand for the images decode(z)."""
    run = _RUN.get()
    if run is None:
        yield
        return
    run.decodes.append(decode)
    try:
        yield
    finally:
        run.decodes.pop()


@contextmanager
def tallied(tally: Tensor) -> Iterator[None]:
    """Inside, a journal keeps `tally` with the state of a descent, for who adds to it at each step.

    A descent that is taken up again finds in it what it held there.
    """
    run = _RUN.get()
    if run is None:
        yield
        return
    run.tallies.append(tally)
    try:
        yield
    finally:
        run.tallies.pop()


def current_step() -> int:
    """The number of the step that the innermost descent is at; 0 outside."""
    return _STEP.get()


class Phase:
    """One descent as its run sees it. Without a run, nothing is kept and nobody watches."""

    def __init__(self) -> None:
        self.run = _RUN.get()
        self.number = 0
        if self.run is not None:
            self.number, self.run.phases = self.run.phases, self.run.phases + 1

    def recall(self) -> tuple[int, list[Tensor]] | None:
        """(step, state) to go on from; None at a fresh start."""
        if self.run is None or self.run.journal is None:
            return None
        known = self.run.journal.recall(self.number)
        if known is None:
            return None
        step, state = known
        own = len(state) - len(self.run.tallies)
        for tally, stored in zip(self.run.tallies, state[own:], strict=True):
            tally.copy_(stored)
        return step, state[:own]

    def note(self, step: int, state: Sequence[Tensor], *, last: bool = False) -> None:
        if self.run is None or self.run.journal is None:
            return
        if last or self.run.journal.due(step):
            self.run.journal.note(self.number, step, (*state, *self.run.tallies))

    def tell(self, step: int, steps: int, z: Tensor, loss: Tensor) -> None:
        if self.run is None or self.run.watch is None:
            return
        decode = self.run.decodes[-1] if self.run.decodes else _as_it_is
        self.run.watch(Frame(self.number, step, steps, loss, lambda: decode(z)))


@contextmanager
def phase() -> Iterator[tuple[Phase, Callable[[int], object]]]:
    """A descent: its phase, and a function that says which step it is at."""
    token = _STEP.set(0)
    try:
        yield Phase(), _STEP.set
    finally:
        _STEP.reset(token)


def _as_it_is(z: Tensor) -> Tensor:
    return z
