"""Let the C library keep the memory that a pass frees, so that the next pass need not ask the system for it again."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # the names of mallopt(3)
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_LARGEST_KEPT = 2**30  # bytes of one tensor: larger ones go back at once
_MOST_KEPT = 2**31 - 1  # bytes, the largest number that mallopt takes


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep up to 2 GiB of freed memory in this process; whether it agreed.

    By default it hands back every tensor beyond 32 MiB, and all of them once 64 MiB are free, in each pass; the system
    clears the same pages anew for the next one. That is a third of the time of a small network, and of a large picture.
    Whoever has set one of glibc's own environment variables for this is left alone; elsewhere than on Linux with glibc
    nothing happens.
    """
    return not any(name in os.environ for name in _SETTINGS) and set_thresholds(_LARGEST_KEPT, _MOST_KEPT)


def set_thresholds(largest: int, most: int) -> bool:
    """Bytes from which a block goes back at once, and bytes at the heap's end from which they do; whether glibc agreed.

    They stay until they are set again: glibc stops adapting them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return bool(mallopt and mallopt(_MMAP_THRESHOLD, largest) and mallopt(_TRIM_THRESHOLD, most))
