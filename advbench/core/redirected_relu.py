"""A way up for units that start dead: for some steps, a ReLU that would block a whole sample lets the push upwards by.

In a network of ReLUs the grey image may switch off every unit on the way to a target: its gradient is zero and a
picture never starts. Olah et al. 2017, doi:10.23915/distill.00007 (published code).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from advbench.core.journal import current_step
from advbench.core.relu_rules import relu_call


def redirected(signal: Tensor, is_open: Tensor) -> Tensor:
    """What passes down: the signal (A, ...) of a minimised loss where the ReLU is open; for a sample of which nothing
    would pass, also what pushes closed units up (negative signals)."""
    through = signal * is_open
    blocked = ~through.flatten(1).any(1)
    if signal.device.type == "cpu" and not bool(blocked.any()):
        return through  # asking is cheap here, what follows is not
    return torch.where(blocked.reshape(-1, *[1] * (signal.dim() - 1)) & (signal < 0), signal, through)


@contextmanager
def redirected_relu(steps: int = 16) -> Iterator[None]:
    """Inside, each ReLU follows `redirected` during the first `steps` steps of a descent; later as ever.

    The values are those of a ReLU at any time, and other activations are left alone.
    """
    with _Interception(steps):
        yield


class _Interception(TorchFunctionMode):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        call = relu_call(func, args, given) if current_step() < self.steps else None
        if call is None:
            return func(*args, **given)
        return _Redirected.apply(*call)


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float | None, in_place: bool) -> Tensor:
        if in_place:
            ctx.mark_dirty(x)
            y = x.clamp_(0.0, ceiling)
        else:
            y = x.clamp(0.0, ceiling)
        ctx.ceiling = ceiling
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *signals: Any) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        is_open = y > 0 if ctx.ceiling is None else (y > 0) & (y < ctx.ceiling)
        return redirected(signals[0], is_open), None, None
