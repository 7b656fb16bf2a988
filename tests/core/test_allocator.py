"""Freed memory stays with the process, unless its owner has said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Page faults of thirty rounds of filling 48 MiB and freeing them, after the first.
_COUNT = """
import resource, torch
from torch import nn
from advbench.core.gradients import frozen
with frozen(nn.Identity()):
    for round in range(31):
        if round == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(12 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_PAGES = 30 * 48 * 2**20 // 4096


def _faults(**settings: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _COUNT], env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux" or not os.confstr("CS_GNU_LIBC_VERSION"), reason="glibc only")
def test_memory_that_a_pass_has_freed_is_not_asked_for_again() -> None:
    assert _faults() < _PAGES / 4


@pytest.mark.skipif(sys.platform != "linux" or not os.confstr("CS_GNU_LIBC_VERSION"), reason="glibc only")
def test_whoever_set_the_allocator_is_left_alone() -> None:
    assert _faults(MALLOC_TRIM_THRESHOLD_="131072") > _PAGES / 2
