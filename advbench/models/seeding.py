"""Initial weights that depend on a seed only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch draws from `seed` on the CPU; afterwards its generator is where it was, also on exceptions.

    Only the CPU generator is used and restored: weights are drawn there before a model moves to a device.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
