"""Reading a model's answers without a gradient, the same for a sample in whatever batch it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advbench.core.gradients import frozen

# A matrix product may pick another kernel for a batch of another shape, and then the last bits of a sample's logits
# depend on its neighbours. Kernels work on groups of 4 or 8 rows: full groups make the answer a sample's own.
GROUP = 8


def predict(model: nn.Module, x: Tensor, *, batch: int = 128) -> Tensor:
    """Logits (B, K) in float32 of x (B, C, H, W), in eval mode; the model is left as it was."""
    with torch.no_grad(), frozen(model):
        return torch.cat([whole_groups(model, part).float() for part in torch.split(x, batch)])


def whole_groups(model: nn.Module, x: Tensor) -> Tensor:
    """model(x) computed on a batch filled up to a multiple of GROUP by repeating the last sample (CPU only)."""
    missing = -len(x) % GROUP
    if not missing or x.device.type != "cpu" or not len(x):
        logits: Tensor = model(x)
        return logits
    filled = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
    rows: Tensor = model(filled)[: len(x)]
    return rows


@contextmanager
def exact_float32() -> Iterator[None]:
    """Products in full float32, also on GPUs that would round to TF32 by default; restored afterwards."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
