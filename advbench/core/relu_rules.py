"""What passes a ReLU on the way down: other rules than the derivative, for every ReLU that a network calls.

The function is intercepted, not the module: `F.relu`, `torch.relu_`, an `nn.ReLU` used twice or in place and ReLU6 all
follow the rule, no hook is set and nothing has to be restored. Springenberg et al. 2015, arXiv:1412.6806, figure 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from advbench.types import ConfigError

# (signal from above, was the ReLU open (bool)) -> what goes on down
ReluRule = Callable[[Tensor, Tensor], Tensor]


def derivative(signal: Tensor, is_open: Tensor) -> Tensor:
    """What backpropagation does: the signal where the input was positive."""
    return signal * is_open


def deconvolution(signal: Tensor, is_open: Tensor) -> Tensor:
    """The ReLU is applied to the signal; what happened on the way up is ignored. arXiv:1311.2901, section 2.1."""
    return signal.clamp_min(0.0)


def guided(signal: Tensor, is_open: Tensor) -> Tensor:
    """Both: positive signals where the input was positive. arXiv:1412.6806, section 3.4."""
    return signal.clamp_min(0.0) * is_open


@contextmanager
def relu_rule(rule: ReluRule, method: str) -> Iterator[None]:
    """Inside, every ReLU computes max(x, 0) as before and sends `rule` of the signal down.

    An activation that is no ReLU (GELU, SiLU, ...) raises ConfigError in the name of `method`: the rule has no agreed
    meaning there. So does, at the end, a block in which no ReLU was called: a network of tanh, or without activations,
    would get its plain gradient under another name.
    """
    with _Interception(rule, method) as interception:
        yield
    if not interception.met:
        raise ConfigError(
            f"{method} changes what passes a ReLU, and this model calls none: it would be the gradient under another "
            f"name; {_WORK_EVERYWHERE}"
        )


class _Interception(TorchFunctionMode):
    def __init__(self, rule: ReluRule, method: str) -> None:
        super().__init__()
        self.rule, self.method, self.met = rule, method, False  # met: was a ReLU called?

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        if func in _SMOOTH:
            raise ConfigError(
                f"{self.method} is defined for ReLU, and this model uses {_SMOOTH[func]}; {_WORK_EVERYWHERE}"
            )
        call = relu_call(func, args, given)
        if call is None:
            return func(*args, **given)
        self.met = True
        return _Ruled.apply(args[0] if args else given["input"], self.rule, *call)


def relu_call(func: object, args: tuple[Any, ...], given: Mapping[str, Any]) -> tuple[float | None, bool] | None:
    """(where it saturates or None, does it overwrite its input) if this call computes a ReLU, else None."""
    if func in _IN_PLACE:
        return None, True
    if func in _RELUS:
        return None, bool(given.get("inplace", args[1] if len(args) > 1 else False))
    if func in _CAPPED:
        defaults: dict[str, Any] = {"min_val": -1.0, "max_val": 1.0, "inplace": False}
        names = ["inplace"] if func is functional.relu6 else list(defaults)
        asked = {**defaults, **dict(zip(names, args[1:], strict=False)), **given}
        low, high = (0.0, 6.0) if func is functional.relu6 else (asked["min_val"], asked["max_val"])
        # A hard tanh is a ReLU with a ceiling if its floor is 0, which is how nn.ReLU6 is written.
        return (high, bool(asked["inplace"])) if low == 0.0 else None
    return None


class _Ruled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: ReluRule, ceiling: float | None, in_place: bool) -> Tensor:
        if in_place:
            ctx.mark_dirty(x)
            y = x.clamp_(0.0, ceiling)
        else:
            y = x.clamp(0.0, ceiling)
        # Of the output, which the next layer keeps anyway: it is positive exactly where the input was.
        ctx.rule, ctx.ceiling = rule, ceiling
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *signals: Any) -> tuple[Tensor, None, None, None]:
        (y,) = ctx.saved_tensors
        is_open = y > 0 if ctx.ceiling is None else (y > 0) & (y < ctx.ceiling)
        return ctx.rule(signals[0], is_open), None, None, None


_WORK_EVERYWHERE = "gradient, smooth_grad and integrated_gradients work for every model"
_RELUS = {functional.relu, torch.relu, Tensor.relu}
_IN_PLACE = {functional.relu_, torch.relu_, Tensor.relu_}
_CAPPED = {functional.relu6, functional.hardtanh}
_SMOOTH: dict[object, str] = {
    functional.gelu: "GELU",
    functional.silu: "SiLU",
    functional.mish: "Mish",
    functional.hardswish: "Hardswish",
    functional.elu: "ELU",
    functional.selu: "SELU",
    functional.celu: "CELU",
    functional.leaky_relu: "LeakyReLU",
    functional.prelu: "PReLU",
    functional.softplus: "Softplus",
}
