"""Ctrl-C and SIGTERM: the work in hand is finished or dropped, never torn. A second signal ends at once."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the run to end. Not an Exception: a cell that is interrupted has not failed."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM: what a shell shows for these signals."""
        return 128 + self.signum


@dataclass
class _State:
    """Signal handlers belong to the process, so their state does too."""

    received: int = 0
    at_once: bool = False


_STATE = _State()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Take SIGINT and SIGTERM as a request to end soon (`check` and `at_once` say where); the second one kills.

    Does nothing outside the main thread, where Python hears no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in SIGNALS}
    _STATE.received, _STATE.at_once = 0, False
    _listen(_once)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        _STATE.received, _STATE.at_once = 0, False


def listen_as_worker() -> None:
    """For the rest of this process, every signal is a request: a worker gets them from terminal and parent alike."""
    _listen(_hear)


def check() -> None:
    """Raise Interrupted if a signal has come since `listening` began."""
    if _STATE.received:
        raise Interrupted(_STATE.received)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Inside, a signal raises Interrupted where it strikes: for long work that keeps its own checkpoints."""
    check()
    _STATE.at_once = True
    try:
        yield
    finally:
        _STATE.at_once = False


def _listen(handler: Callable[[int, FrameType | None], None]) -> None:
    for each in SIGNALS:
        signal.signal(each, handler)


def _once(signum: int, frame: FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    print("stopping after the work in hand; a second signal stops at once", file=sys.stderr, flush=True)
    _hear(signum, frame)


def _hear(signum: int, frame: FrameType | None) -> None:
    _STATE.received = _STATE.received or signum
    if _STATE.at_once:
        _STATE.at_once = False  # once: what unwinds now may clean up in peace
        raise Interrupted(_STATE.received)
