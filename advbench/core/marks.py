"""Notes that a method leaves about single samples, for whoever called it to store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from advbench.core.gradients import attended_rows

Marks = list[tuple[str, Tensor]]  # a word, and the positions (A,) in the attacked batch that it is about

_MARKS: ContextVar[Marks | None] = ContextVar("marks", default=None)


@contextmanager
def collecting() -> Iterator[Marks]:
    """Inside, what `mark` says is appended to the list that this gives."""
    marks: Marks = []
    token = _MARKS.set(marks)
    try:
        yield marks
    finally:
        _MARKS.reset(token)


def mark(word: str, rows: Tensor) -> None:
    """Say `word` of the samples at positions `rows` (A,); inside of `attending`, positions among those attended to."""
    marks, outer = _MARKS.get(), attended_rows()
    if marks is not None:
        marks.append((word, rows if outer is None else outer[rows]))


def marked(marks: Marks, word: str, size: int, device: torch.device) -> Tensor:
    """(size,) bool: was `word` said of the sample?"""
    found = torch.zeros(size, dtype=torch.bool, device=device)
    for said, rows in marks:
        if said == word:
            found[rows] = True
    return found
