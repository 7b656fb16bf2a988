"""Reading inside a network: its layers by name, and what they put out, with the graph attached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from advbench.types import ConfigError


def layer_names(model: nn.Module) -> list[str]:
    """Names of all modules in the order of `named_modules`, without the model itself."""
    return [name for name, _ in model.named_modules() if name]


def last_conv(model: nn.Module) -> str:
    """Name of the last 2-d convolution. Raises ConfigError if there is none."""
    names: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    if not names:
        raise ConfigError(f"{type(model).__name__} has no convolution: name a layer whose output is (B, C, H, W)")
    return names[-1]


@contextmanager
def record(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Inside, each forward pass fills the yielded dict: layer name -> its output, differentiable.

    A layer used several times keeps its last output. The hooks are gone afterwards, also on exceptions.
    Raises ConfigError for a name that is no layer.
    """
    modules = dict(model.named_modules())
    unknown = [layer for layer in layers if layer not in modules]
    if unknown:
        raise ConfigError(
            f"no layer named {unknown[0]!r} in {type(model).__name__}; layers: {', '.join(layer_names(model))}"
        )
    outputs: dict[str, Tensor] = {}

    def keep_output(layer: str) -> object:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            # A copy goes on: an in-place ReLU behind this layer must not change what was recorded.
            outputs[layer] = output
            return output.clone()

        return modules[layer].register_forward_hook(hook)

    handles = [keep_output(layer) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
