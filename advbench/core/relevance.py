"""Relevance instead of gradients: what a network's backward pass carries while `relevance_rules` is in force.

Each layer splits the relevance of its outputs over its inputs in the proportion in which they contributed: Bach et al.
2015, doi:10.1371/journal.pone.0130140. Functions are intercepted, not modules: no hook is set, no weight is touched,
and a batch normalisation behind a convolution is folded into a copy of its weights. What has no rule is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from advbench.core.relevance_rules import Layer, Rule, epsilon_rule, stabilised
from advbench.types import ConfigError

_STABILISER = 1e-6  # in sums and poolings, which are layers of fixed positive weights


@dataclass(frozen=True)
class Composite:
    """The rule of each kind of layer: convolutions, the first of them, and fully connected ones."""

    convolution: Rule
    first: Rule
    linear: Rule


@contextmanager
def relevance_rules(composite: Composite, method: str) -> Iterator[None]:
    """Inside, networks compute as before, and the graph they leave behind sends relevance down instead of gradients.

    Activations of one number, poolings and sums included; biases keep their share. Call autograd.grad outside.
    A function of activations without a rule (attention, layer normalisation, a product of two) raises ConfigError in
    the name of `method`.
    """
    with _Rules(composite, method):
        yield


def first_inputs(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What the first convolution sees of the images (A, C, H, W). Raises ConfigError where there is none."""
    with torch.no_grad(), _First() as mode:
        model(images)
    if mode.seen is None:
        raise ConfigError(f"{type(model).__name__} calls no convolution whose inputs could have a range")
    seen: Tensor = mode.seen
    return seen


class _First(TorchFunctionMode):
    seen: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if self.seen is None and _name(func) in _CONVOLUTIONS:
            self.seen = (args[0] if args else given["input"]).detach()
        return func(*args, **given)


class _Rules(TorchFunctionMode):
    def __init__(self, composite: Composite, method: str) -> None:
        super().__init__()
        self.composite, self.method = composite, method
        self.is_first = True
        self.last: tuple[Tensor, Tensor, Layer, Rule] | None = None  # output and input of the layer just left

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        name = _name(func)
        if not any(_live(each) for each in (*args, *given.values())):
            return func(*args, **given)
        if name in _CONVOLUTIONS or name == "linear":
            return self._layer(func, name, args, given)
        if name == "batch_norm":
            return self._normalised(func, args, given)
        if name in _SUMS or name in _SCALINGS:
            return self._pair(func, name, args, given)
        if name in _ACTIVATIONS:
            return _Passed.apply(args[0] if args else given["input"], lambda x: _call(func, x, args, given))
        if name in _POOLINGS:
            x = args[0] if args else given["input"]
            layer = Layer(lambda z, weight, bias: _call(func, z, args, given), None, None)
            return _Split.apply(x, lambda: _call(func, x.detach(), args, given), layer, epsilon_rule(_STABILISER))
        found = func(*args, **given)
        if name not in _MOVES and _live(found):
            raise self._no_rule(name)
        return found

    def _layer(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
        asked = {**dict(zip(("input", "weight", "bias"), args, strict=False)), **given}
        x, weight, bias = asked.pop("input"), asked.pop("weight"), asked.pop("bias", None)
        if _live(weight):
            raise self._no_rule(name)
        rule = self.composite.linear
        if name != "linear":
            rule = self.composite.first if self.is_first else self.composite.convolution
            self.is_first = False

        def run(z: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
            found: Tensor = func(z, w, b, *args[3:], **asked)
            return found

        layer = Layer(run, weight, bias)
        found: Tensor = _Split.apply(x, lambda: run(x.detach(), weight, bias), layer, rule)
        self.last = found, x, layer, rule
        return found

    def _normalised(self, func: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        asked = {"weight": None, "bias": None, "eps": 1e-5, **dict(zip(names, args, strict=False)), **given}
        x = asked["input"]
        if asked.get("training", False):
            raise self._no_rule("batch_norm with the statistics of the batch")
        found: Tensor
        if self.last is None or self.last[0] is not x:
            found = _Passed.apply(x, lambda z: func(**{**asked, "input": z}))
            return found
        _, source, layer, rule = self.last
        scale = torch.rsqrt(asked["running_var"] + asked["eps"])
        scale = scale if asked["weight"] is None else scale * asked["weight"]
        assert layer.weight is not None
        weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        bias = (0.0 if layer.bias is None else layer.bias) - asked["running_mean"]
        bias = bias * scale + (0.0 if asked["bias"] is None else asked["bias"])
        merged = Layer(layer.run, weight, bias)
        found = _Split.apply(source, lambda: func(**{**asked, "input": x.detach()}), merged, rule)
        return found

    def _pair(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
        a, b = (*args, *given.values())[:2]
        found: Tensor
        if _live(a) and _live(b):
            if name not in _SUMS or a.shape != b.shape or given.get("alpha", 1) != 1:
                raise self._no_rule(f"{name.strip('_')} of two activations")
            found = _Added.apply(a, b, name in _ADDS_IN_PLACE)
        elif _live(a):
            found = _Passed.apply(a, lambda x: func(x, *args[1:], **given))
        else:
            found = _Passed.apply(b, lambda x: func(a, x))
        return found

    def _no_rule(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self.method} has no rule for {what}, which this model uses; "
            "integrated_gradients and smooth_grad work for every model"
        )


class _Split(torch.autograd.Function):
    """A layer whose relevance is split by a rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, compute: Callable[[], Tensor], layer: Layer, rule: Rule) -> Tensor:
        ctx.layer, ctx.rule = layer, rule
        ctx.save_for_backward(x)
        return compute()

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return ctx.rule(ctx.layer, x, relevance[0]), None, None, None


class _Passed(torch.autograd.Function):
    """A function of each number alone: its input is as relevant as its output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        y = function(x)
        if y is x:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> tuple[Tensor, None]:
        return relevance[0], None


class _Added(torch.autograd.Function):
    """Two summands share the relevance of their sum."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, in_place: bool) -> Tensor:
        if not in_place:
            ctx.save_for_backward(a, b)
            return a + b
        ctx.save_for_backward(a.clone(), b)
        ctx.mark_dirty(a)
        return a.add_(b)

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        share = relevance[0] / stabilised(a + b, _STABILISER)
        return a * share, b * share, None


def _call(func: Callable[..., Any], x: Tensor, args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
    """The same call with another input."""
    found: Tensor = func(x, *args[1:], **given) if args else func(**{**given, "input": x})
    return found


def _live(value: object) -> bool:
    """Does this, or anything in it, depend on the image?"""
    if isinstance(value, tuple | list):
        return any(_live(each) for each in value)
    return isinstance(value, Tensor) and value.requires_grad


def _name(func: object) -> str:
    return str(getattr(func, "__name__", func))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# By name, since a function, a method and an operator of torch that do the same share it.
_CONVOLUTIONS = _words("conv1d conv2d conv3d")
_ADDS_IN_PLACE = _words("add_ __iadd__")
_SUMS = _words("add __add__ __radd__") | _ADDS_IN_PLACE
# With a constant these are linear layers of one input each: all of its relevance passes.
_SCALINGS = _words(
    "sub sub_ __sub__ __rsub__ __isub__ rsub mul mul_ __mul__ __rmul__ __imul__ "
    "div div_ __truediv__ __itruediv__ true_divide"
)
_ACTIVATIONS = _words(
    "relu relu_ relu6 hardtanh hardtanh_ leaky_relu leaky_relu_ elu elu_ selu selu_ celu celu_ "
    "tanh tanh_ softplus gelu silu mish hardswish clamp_min clamp_min_ neg"
)
_POOLINGS = _words("avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d mean")
# These move numbers or choose among them: the gradient, 0 or 1, already carries relevance where it belongs.
_MOVES = _words(
    "flatten reshape view permute transpose movedim contiguous clone squeeze unsqueeze expand unflatten t to float "
    "cat concat stack chunk split unbind narrow __getitem__ index_select pad dropout dropout2d feature_dropout "
    "max_pool1d _max_pool1d max_pool2d _max_pool2d max_pool2d_with_indices channel_shuffle detach "
    "adaptive_max_pool2d _adaptive_max_pool2d adaptive_max_pool2d_with_indices"
)
