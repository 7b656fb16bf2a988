"""The maps that a network averages over the whole image in front of its head, and what the head does with the means.

The function is intercepted, not the module: `F.adaptive_avg_pool2d`, `F.avg_pool2d` over the whole map and `mean` over
rows and columns are found wherever they are called, with what a functional ReLU made of the maps before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass
class Pooled:
    """The last global mean of a forward pass."""

    maps: Tensor | None = None  # (A, k, h, w), without graph
    means: Tensor | None = None  # (A, k), where the graph begins
    calls: int = 0


@contextmanager
def global_mean(replace: tuple[int, Tensor] | None = None) -> Iterator[Pooled]:
    """Inside, the graph of a forward pass begins at its last global mean, which the yielded `Pooled` then holds.

    replace: (number of a call, means (A, k)): what that call gives instead.
    """
    pooled = Pooled()
    with _Interception(pooled, replace):
        yield pooled


class _Interception(TorchFunctionMode):
    def __init__(self, pooled: Pooled, replace: tuple[int, Tensor] | None) -> None:
        super().__init__()
        self.pooled, self.replace = pooled, replace

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if func not in _MEANS:
            return result
        maps = _averaged(args[0] if args else given.get("input"), result, args[1:], given)
        if maps is None:
            return result
        number, self.pooled.calls = self.pooled.calls, self.pooled.calls + 1
        means = result.detach().reshape(maps.shape[:2])
        if self.replace is not None and number == self.replace[0]:
            means = self.replace[1]
        self.pooled.maps = maps.detach()
        self.pooled.means = means.requires_grad_(torch.is_grad_enabled())
        return self.pooled.means.reshape(result.shape).clone()


def _averaged(x: object, result: object, further: tuple[Any, ...], given: Any) -> Tensor | None:
    """The maps (A, k, h, w) of which `result` holds the mean over all rows and columns; None if it does not."""
    if not isinstance(x, Tensor) or not isinstance(result, Tensor) or x.dim() != 4:
        return None
    dims = given.get("dim", further[0] if further else None)
    if isinstance(dims, Sequence) and {axis % 4 for axis in dims} == {1, 2} and result.numel() == len(x) * x.shape[3]:
        return x.permute(0, 3, 1, 2)
    one_each = result.shape[:2] == x.shape[:2] and result.numel() == x.shape[0] * x.shape[1]
    return x if one_each else None


_MEANS = {functional.adaptive_avg_pool2d, functional.avg_pool2d, torch.mean, Tensor.mean}
