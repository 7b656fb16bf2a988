"""The allocator as PyTorch finds it, for what is timed beside us in the same process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from advbench.core.allocator import keep_freed_memory, set_thresholds

_GLIBC = 32 * 2**20, 64 * 2**20  # the largest that its thresholds grow to by themselves


@contextmanager
def as_it_comes() -> Iterator[None]:
    """Inside, freed memory goes back to the system as it does without us: by glibc's thresholds, at their largest."""
    kept = keep_freed_memory()
    if kept:
        set_thresholds(*_GLIBC)
    try:
        yield
    finally:
        if kept:
            keep_freed_memory.__wrapped__()
