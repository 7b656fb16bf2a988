"""Reading inside a network: its layers by name, and what they put out, with the graph attached.

Maps have their channels second, (B, C, h, w), also those of layers that put them out last, as Swin's do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from advbench.core.map_reader import MapReader, reading_maps
from advbench.names import nearest
from advbench.types import ConfigError


def layer_names(model: nn.Module) -> list[str]:
    """Names of all modules in the order of `named_modules`, without the model itself."""
    return [name for name, _ in model.named_modules() if name]


def module_named(model: nn.Module, layer: str) -> nn.Module:
    """The module of that name, or the only one whose name ends so ("features.3" for "net.features.3").

    Raises ConfigError if there is none or more than one.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if layer in modules:
        return modules[layer]
    names = [name for name in modules if name.endswith(f".{layer}")]
    if len(names) == 1:
        return modules[names[0]]
    about = f"in {type(model).__name__}; "
    if names:
        raise ConfigError(f"more than one layer is named {layer!r} {about}say which: {', '.join(names[:6])}")
    known = layer_names(model)
    shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")
    raise ConfigError(f"no layer named {layer!r} {about}{nearest(layer, known)}layers: {shown}")


def check_reached(model: nn.Module, layers: Sequence[str], seen: Collection[str]) -> None:
    """Raise ConfigError if one of `layers` is not among those that a pass of the model came to."""
    for layer in layers:
        if layer not in seen:
            others = [name for name in layer_names(model) if name != layer and not name.startswith(f"{layer}.")]
            hint = f"; {nearest(layer, others).strip()}" if nearest(layer, others) else ""
            raise ConfigError(f"layer {layer!r} of {type(model).__name__} takes no part in its forward pass{hint}")


@contextmanager
def record(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Inside, each forward pass fills the yielded dict: layer name -> its output, differentiable.

    A layer used several times keeps its last output. The hooks are gone afterwards, also on exceptions.
    Raises ConfigError for a name that is no layer.
    """
    outputs: dict[str, Tensor] = {}
    with _hooked(model, layers, outputs.__setitem__, copied=layers):
        yield outputs


class Partial:
    """The part of a network that a few layers need: the pass ends at the last of them, what follows costs nothing."""

    def __init__(self, model: nn.Module, layers: Sequence[str], probe: Tensor) -> None:
        """probe (B, C, H, W): images to find out with how often a pass calls each layer, and what is written over."""
        self.model, self.layers = model, tuple(dict.fromkeys(layers))
        seen: list[tuple[str, Tensor, int]] = []  # layer, output, how often it had been written to
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            _hooked(model, self.layers, lambda layer, output: seen.append((layer, output, output._version))),
        ):
            try:
                model(probe)
            except RuntimeError:
                # A head made for another image size: what comes before it is all that is asked for.
                if {layer for layer, _, _ in seen} != set(self.layers):
                    raise
        calls = Counter(layer for layer, _, _ in seen)
        check_reached(model, self.layers, calls)
        self.calls: Mapping[str, int] = calls
        self.overwritten = {layer for layer, output, version in seen if output._version != version}

    def __call__(self, z: Tensor, read: Callable[[str, Tensor], Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs of the layers at z (A, C, H, W), differentiable; of a layer used several times the last.

        read: what to keep of (layer, output) instead, formed as soon as the pass comes to the layer.
        """
        outputs: dict[str, Tensor] = {}
        left = Counter(self.calls)

        def keep(layer: str, output: Tensor) -> None:
            outputs[layer] = output if read is None else read(layer, output)
            left[layer] -= 1
            if not any(left.values()):
                raise _EnoughError

        with _hooked(self.model, self.layers, keep, copied=self.overwritten), suppress(_EnoughError):
            self.model(z)
        return outputs


class _EnoughError(Exception):
    """All that was asked for is known: the pass ends here."""


@contextmanager
def _hooked(
    model: nn.Module, layers: Sequence[str], keep: Callable[[str, Tensor], None], copied: Collection[str] = ()
) -> Iterator[None]:
    """Inside, `keep` gets the layers' outputs. Of those in `copied` a copy goes on: an in-place ReLU behind such a
    layer must not change what was kept.
    """
    modules = {layer: module_named(model, layer) for layer in layers}

    def hook_for(layer: str, reader: MapReader) -> Callable[[nn.Module, object, object], Tensor]:
        def hook(module: nn.Module, inputs: object, output: object) -> Tensor:
            if not isinstance(output, Tensor):
                raise ConfigError(f"layer {layer!r} puts out a {type(output).__name__}, not a tensor: name another one")
            kept = reader.channels_first(output)
            keep(layer, kept)
            # What goes on comes from what is kept, so that gradients flow back to it.
            onwards = output if kept is output else kept.movedim(1, -1)
            return onwards.clone() if layer in copied else onwards

        return hook

    handles = []
    with reading_maps(model) as reader:
        try:
            for layer, module in modules.items():
                handles.append(module.register_forward_hook(hook_for(layer, reader)))
            yield
        finally:
            for handle in handles:
                handle.remove()
