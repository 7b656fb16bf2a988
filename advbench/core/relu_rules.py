"""What passes a ReLU on the way down: other rules than the derivative, for every ReLU that a network calls.

The function is intercepted, not the module: `F.relu`, `torch.relu_`, an `nn.ReLU` used twice or in place, ReLU6, and
what amounts to a ReLU, as `x.clamp(min=0)`, `F.threshold(x, 0, 0)` and the maximum with zeros, all follow the rule, no
hook is set and nothing has to be restored. Not so `x * (x > 0)`, which is a product. Springenberg et al. 2015,
arXiv:1412.6806, figure 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from advbench.types import ConfigError

# (signal from above, was the ReLU open (bool)) -> what goes on down
ReluRule = Callable[[Tensor, Tensor], Tensor]


class ReluCall(NamedTuple):
    """A call that computes a ReLU of x: where it saturates, or None, and does it overwrite x?"""

    x: Tensor
    ceiling: float | None
    in_place: bool


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
        return _Ruled.apply(call.x, self.rule, call.ceiling, call.in_place)


def relu_call(func: object, args: tuple[Any, ...], given: Mapping[str, Any]) -> ReluCall | None:
    """What this call of a function of torch computes if that is a ReLU, else None."""
    called = getattr(func, "__name__", "")
    name = called.strip("_")
    if name not in _BEHIND_INPUT:
        return None
    names = _BEHIND_INPUT[name]
    asked = {**dict(zip(("input", *names), args, strict=False)), **given}
    x, in_place = asked["input"], called.endswith("_") or bool(asked.get("inplace", False))
    if name == "relu":
        return ReluCall(x, None, in_place)
    if name in _CAPPED:
        low, high = asked.get("min_val", _CAPPED[name][0]), asked.get("max_val", _CAPPED[name][1])
        # A hard tanh is a ReLU with a ceiling if its floor is 0, which is how nn.ReLU6 is written.
        return ReluCall(x, high, in_place) if low == 0.0 else None
    if name in ("maximum", "max"):
        return _maximum_with_zeros(x, asked.get("other"))
    floors = [asked.get(each) for each in names if each not in ("max", "inplace")]
    # Without a graph nothing comes down: it may be a weight that shall not be negative, or a place in an image.
    is_relu = x.requires_grad and asked.get("max") is None and all(_is_zero(floor, x) for floor in floors)
    return ReluCall(x, None, in_place) if is_relu else None


def _maximum_with_zeros(one: Tensor, other: object) -> ReluCall | None:
    if not isinstance(other, Tensor):  # a maximum over a dimension
        return None
    pairs = ((one, other), (other, one))
    return next((ReluCall(x, None, False) for x, floor in pairs if x.requires_grad and _is_zero(floor, x)), None)


def _is_zero(floor: object, x: Tensor) -> bool:
    """Is it 0, or a constant tensor of zeros beside which x keeps its shape and type?"""
    if not isinstance(floor, Tensor):
        return isinstance(floor, int | float) and floor == 0
    alike = floor.shape == x.shape or (floor.numel() == 1 and floor.dim() <= x.dim())
    return alike and not floor.requires_grad and torch.result_type(x, floor) == x.dtype and not bool(floor.any())


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
# What each takes behind its input. By name, since a function and a method that do the same share it, and that with a _
# behind it works in place.
_BEHIND_INPUT = {
    "relu": ("inplace",),
    "relu6": ("inplace",),
    "hardtanh": ("min_val", "max_val", "inplace"),
    "threshold": ("threshold", "value", "inplace"),
    "clamp": ("min", "max"),
    "clip": ("min", "max"),
    "clamp_min": ("min",),
    "maximum": ("other",),
    "max": ("other",),
}
_CAPPED = {"relu6": (0.0, 6.0), "hardtanh": (-1.0, 1.0)}
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
