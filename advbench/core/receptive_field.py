"""Which pixels a unit can see: the support of its gradient when every weight is positive and nothing rectifies.

Found by running the model's own forward pass with its functions replaced, so that parallel branches, shortcuts and
concatenations need no arithmetic. Weights take no part: the field is that of the architecture. Araujo et al. 2019,
doi:10.23915/distill.00021, gives the arithmetic of a chain of layers, which this equals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from advbench.core.activations import check_reached, record
from advbench.core.gradients import frozen
from advbench.core.map_reader import MapReader, reading_maps
from advbench.types import ConfigError


class Box(NamedTuple):
    """Rows top .. bottom - 1 and columns left .. right - 1 of an image."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


class Unit(NamedTuple):
    """A place in a layer's output (C, H, W); channel None means all channels at that place."""

    channel: int | None
    row: int
    column: int


def receptive_fields(
    model: nn.Module, layer: str, units: Sequence[Unit], shape: tuple[int, int, int], device: torch.device | str = "cpu"
) -> list[Box]:
    """The smallest box of pixels that holds all a unit of `layer` depends on, clipped at the borders, for each unit.

    shape: (C, H, W) of the images. In attention a token sees all tokens it attends among; masks are not looked at.
    Raises ConfigError for a layer without rows and columns, a unit outside of it, and where no gradient reaches the
    image.
    """
    with torch.enable_grad():
        x = torch.full((1, *shape), 2.0, device=device, requires_grad=True)
        with frozen(model), record(model, [layer]) as outputs, _Transparent():
            model(x)
        check_reached(model, [layer], outputs)
        found: dict[Unit, Box] = {}
        for unit in dict.fromkeys(units):
            found[unit] = field_of(outputs[layer], unit, x, layer)
    return [found[unit] for unit in units]


def field_of(output: Tensor, unit: Unit, x: Tensor, layer: str) -> Box:
    """The box of pixels of x (1, C, H, W) that `unit` of a recorded `output` of it sees; the graph is kept."""
    if output.dim() != 4:
        raise ConfigError(f"{layer}: its output {tuple(output.shape)} has no rows and columns, so no receptive field")
    channels, height, width = output.shape[1:]
    inside = unit.channel is None or 0 <= unit.channel < channels
    if not (inside and 0 <= unit.row < height and 0 <= unit.column < width):
        raise ConfigError(f"{layer}: no unit {tuple(unit)} in an output of {channels} x {height} x {width}")
    seed = torch.zeros_like(output)
    which = slice(None) if unit.channel is None else unit.channel
    seed[0, which, unit.row, unit.column] = 1.0
    (grad,) = torch.autograd.grad(output, x, seed, retain_graph=True, allow_unused=True)
    seen = torch.zeros_like(x[0, 0], dtype=torch.bool) if grad is None else (grad[0] != 0).any(0)
    rows, columns = seen.any(1).nonzero()[:, 0].tolist(), seen.any(0).nonzero()[:, 0].tolist()
    if not rows:
        raise ConfigError(f"{layer}: no gradient reaches the image from here, so its receptive field is not known")
    return Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


def transparent_outputs(
    model: nn.Module, shape: tuple[int, int, int], device: torch.device | str = "cpu"
) -> tuple[Tensor, dict[str, Tensor]]:
    """An image x (1, C, H, W) and the outputs that `field_of` reads, of every module that returns a tensor.

    In the order in which the modules finish; of a module used several times the last output. Channels are second.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str, reader: MapReader) -> Callable[[nn.Module, object, object], object]:
        def hook(module: nn.Module, inputs: object, output: object) -> object:
            if not isinstance(output, Tensor):
                return output
            outputs.pop(name, None)
            outputs[name] = reader.channels_first(output)
            return output.clone()

        return hook

    with reading_maps(model) as reader:
        handles = [module.register_forward_hook(keep(name, reader)) for name, module in model.named_modules() if name]
        try:
            with torch.enable_grad(), frozen(model), _Transparent():
                x = torch.full((1, *shape), 2.0, device=device, requires_grad=True)
                model(x)
        finally:
            for handle in handles:
                handle.remove()
    return x, outputs


class _Seen(torch.autograd.Function):
    """Ones forwards, so that products stay positive; backwards 1 wherever a signal arrives, so that none fades."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return torch.ones_like(z)

    @staticmethod
    def backward(ctx: Any, *signals: Any) -> Tensor:
        signal: Tensor = signals[0]
        return (signal != 0).to(signal.dtype)


class _Transparent(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        if func in _ELEMENTWISE:
            return _Seen.apply(args[0] if args else given["input"])
        replacement = _REPLACED.get(func)
        if replacement is None:
            return func(*args, **given)
        result = replacement(*args, **given)
        return (_Seen.apply(result[0]), *result[1:]) if isinstance(result, tuple) else _Seen.apply(result)


def _conv2d(  # noqa: PLR0917
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    # All channels of a group see the same: one plane per group is enough, which makes this cheap.
    planes = input.reshape(len(input), groups, -1, *input.shape[2:]).mean(2)
    kernel = weight.new_ones(groups, 1, *weight.shape[2:])
    seen = functional.conv2d(planes, kernel, None, stride, padding, dilation, groups)
    result: Tensor = seen.repeat_interleave(weight.shape[0] // groups, 1)
    return result


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return input.mean(-1, keepdim=True).expand(*input.shape[:-1], weight.shape[0])


def _max_pool2d(  # noqa: PLR0917
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    if dilation not in (1, (1, 1), [1, 1]):
        raise ConfigError("the receptive field behind a dilated max pool is not known")
    spacing = None if stride in (None, [], ()) else stride
    return functional.avg_pool2d(input, kernel_size, spacing, padding, ceil_mode)  # type: ignore[arg-type]


def _adaptive_max_pool2d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Tensor:
    return functional.adaptive_avg_pool2d(input, output_size)  # type: ignore[arg-type]


def _over_places(input: Tensor, *args: object, **kwargs: object) -> Tensor:
    """A group or instance norm: each value depends on its map as a whole."""
    return input + input.flatten(1).mean(1).view(-1, *[1] * (input.dim() - 1))


def _layer_norm(input: Tensor, normalized_shape: Sequence[int], *args: object, **kwargs: object) -> Tensor:
    last = tuple(range(input.dim() - len(normalized_shape), input.dim()))
    return input + input.mean(last, keepdim=True)


def _softmax(input: Tensor, dim: int | None = None, *args: object, **kwargs: object) -> Tensor:
    return input + input.mean(-1 if dim is None else dim, keepdim=True)


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: object, **kwargs: object) -> Tensor:
    return value.mean(-2, keepdim=True).expand(*query.shape[:-1], value.shape[-1])


def _multi_head(query: Tensor, key: Tensor, value: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, None]:
    return value.mean(0, keepdim=True).expand(*query.shape[:-1], value.shape[-1]), None


_ELEMENTWISE: set[object] = {
    *(functional.relu, torch.relu, Tensor.relu, functional.relu_, torch.relu_, Tensor.relu_, functional.relu6),
    *(functional.gelu, functional.silu, functional.mish, functional.hardswish, functional.hardsigmoid),
    *(functional.hardtanh, functional.elu, functional.selu, functional.celu, functional.leaky_relu, functional.prelu),
    *(functional.softplus, functional.sigmoid, torch.sigmoid, Tensor.sigmoid, torch.tanh, Tensor.tanh),
    *(torch.clamp, Tensor.clamp, functional.batch_norm, functional.local_response_norm, torch.prelu),
    *(functional.dropout, functional.dropout2d),
}
_REPLACED: Mapping[object, Callable[..., Any]] = {
    functional.conv2d: _conv2d,
    functional.linear: _linear,
    functional.max_pool2d: _max_pool2d,
    torch.max_pool2d: _max_pool2d,
    functional.adaptive_max_pool2d: _adaptive_max_pool2d,
    functional.group_norm: _over_places,
    functional.instance_norm: _over_places,
    functional.layer_norm: _layer_norm,
    functional.softmax: _softmax,
    torch.softmax: _softmax,
    Tensor.softmax: _softmax,
    functional.scaled_dot_product_attention: _attention,
    functional.multi_head_attention_forward: _multi_head,
}
