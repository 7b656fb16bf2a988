"""The floor under every gradient attack: bare forward and backward passes to the input, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCHES = (32, 64, 128, 256)


def bare_passes(model: nn.Module, x: Tensor, y: Tensor, *, passes: int, batch: int) -> None:
    """`passes` forward and backward passes of cross entropy to x (B, ...), `batch` samples at a time, float32."""
    for part, labels in zip(torch.split(x, batch), torch.split(y, batch), strict=True):
        for _ in range(passes):
            z = part.detach().requires_grad_(True)
            torch.autograd.grad(functional.cross_entropy(model(z), labels, reduction="sum"), z)
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call by `clock`: wall time unless told otherwise."""
    start = clock()
    work()
    return clock() - start
