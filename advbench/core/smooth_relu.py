"""ReLU made smooth, so that a gradient can itself be differentiated: softplus in its place, for every call of it.

A network of ReLUs is piecewise linear: the derivative of its gradient is zero almost everywhere. Dombrowski et al.
2019, arXiv:1906.07983, section 3. Functions are intercepted, not modules, as in `core.relu_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from advbench.core.relu_rules import relu_call


@contextmanager
def smooth_relu(beta: float) -> Iterator[None]:
    """Inside, every ReLU computes log(1 + exp(beta x)) / beta, at most log(2) / beta above max(x, 0).

    A ReLU with a ceiling (ReLU6) is smoothed at both ends. In-place calls overwrite their input as before. Activations
    that are no ReLU stay as they are: most of them have curvature of their own.
    """
    with _Smoothing(beta):
        yield


class _Smoothing(TorchFunctionMode):
    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        call = relu_call(func, args, given)
        if call is None:
            return func(*args, **given)
        x, ceiling, in_place = call
        # A softplus keeps its input for the way down: what is overwritten must not be that.
        y = self._smooth(x.clone() if in_place else x, ceiling)
        return x.copy_(y) if in_place else y

    def _smooth(self, x: Tensor, ceiling: float | None) -> Tensor:
        y = functional.softplus(x, self.beta)
        return y if ceiling is None else y - functional.softplus(x - ceiling, self.beta)
