"""The layer at which a class activation map is drawn if nobody names one: found by looking at a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.activations import record
from advbench.core.gradients import frozen
from advbench.core.map_reader import Layout, reading_maps
from advbench.core.targets import Reading, Target
from advbench.types import ConfigError

_USEFUL = 5  # rows and columns that a map needs to show a place; 7 x 7 is what ImageNet networks end with
# They compute nothing of their own (in eval mode): the layer before has the same maps under a better name.
_PASSIVE = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.AdaptiveAvgPool2d, nn.Flatten)


def default_layer(model: nn.Module, x: Tensor, target: Target) -> str:
    """Name of the last layer in order of execution whose output is a map that the score's gradient reaches.

    A map has 5 x 5 cells or more, or as many as the model's largest if that is less. The end of a ResNet's, VGG's or
    DenseNet's features; a SqueezeNet's last fire module (not the class maps behind it, which are the answer already);
    the first norm of a ViT's last block (of what follows only the class token is read). It is looked for on one image
    of fixed noise of the size of x (B, C, H, W), so it does not depend on the images. Raises ConfigError if there is
    none.
    """
    with frozen(model), torch.enable_grad():
        output, score, layers = _probe(model, _noise(x), target)
        sides = {name: min(layer.layout(layer.output).shape[2:]) for name, layer in layers.items()}
        if not sides or max(sides.values()) < 2:
            raise ConfigError(
                f"{type(model).__name__} has no convolution or other layer whose output has rows and columns; "
                "gradient, integrated_gradients and occlusion work for every model"
            )
        enough = min(_USEFUL, max(sides.values()))
        found = _reached(score, {name: layer for name, layer in layers.items() if sides[name] >= enough})
        if not found:
            raise ConfigError(
                f"{type(model).__name__}: the gradient of {target.name} is zero at every layer with maps; name a layer"
            )
        answers = [name for name in found if _is_class_map(output, layers[name])]
        found = [name for name in found if name not in answers] or found
        whole = [name for name in found if not _is_bypassed(score, layers[name])]
        return (whole or found)[-1]


class _Layer(NamedTuple):
    output: Tensor  # with its graph
    layout: Layout


def _probe(model: nn.Module, z: Tensor, target: Target) -> tuple[Tensor, Tensor, dict[str, _Layer]]:
    """The model's output for z, a score, and the layers with maps in the order in which they were done."""
    rows = torch.zeros(1, dtype=torch.int64, device=z.device)
    with record(model, target.layers) as recorded, _watching(model) as layers:
        output: Tensor = model(z)
    if target.layers:
        return output, target.read(Reading(output, recorded, rows)).sum(), layers
    flat = output.flatten(1)
    # Weights without a pattern: whatever score of the output is asked for, this one depends on the same layers.
    weights = torch.arange(1, flat.shape[1] + 1, device=z.device, dtype=z.dtype).mul(2.4).cos()
    return output, (flat * weights).sum(), layers


@contextmanager
def _watching(model: nn.Module) -> Iterator[dict[str, _Layer]]:
    """Inside, a forward pass fills the yielded dict with the layers that put out maps, once one has learned weights."""
    layers: dict[str, _Layer] = {}
    with reading_maps(model) as reader:

        def watch(name: str) -> object:
            def hook(module: nn.Module, inputs: object, output: object) -> None:
                layout = reader.layout(output)
                # What comes before the first learned layer is the image, normalised.
                if layout is None or not (layers or any(True for _ in module.parameters())):
                    return
                assert isinstance(output, Tensor)
                layers.pop(name, None)  # a layer used twice counts where it was used last
                layers[name] = _Layer(output, layout)

            return modules[name].register_forward_hook(hook)

        modules = {name: module for name, module in model.named_modules() if name and not isinstance(module, _PASSIVE)}
        handles: list[object] = []
        try:
            handles.extend(watch(name) for name in modules)
            yield layers
        finally:
            for handle in handles:
                handle.remove()  # type: ignore[attr-defined]


def _reached(score: Tensor, layers: dict[str, _Layer]) -> list[str]:
    """Names of the layers, in order, whose maps the score depends on."""
    names = [name for name, layer in layers.items() if layer.output.requires_grad]
    if not names or not score.requires_grad:
        return []
    outputs = [layers[name].output for name in names]
    grads = torch.autograd.grad(score, outputs, retain_graph=True, materialize_grads=True)
    return [name for name, grad in zip(names, grads, strict=True) if layers[name].layout(grad).any()]


def _is_bypassed(score: Tensor, layer: _Layer) -> bool:
    """Does the score read the image along another way too, as beside a layer in a residual branch?

    Not asked of tokens: what goes past a transformer's last read norm is the class token, which is no place.
    """
    if layer.output.dim() == 3:
        return False
    open_nodes, seen = [score.grad_fn], {layer.output.grad_fn, None}
    while open_nodes:
        node = open_nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        assert node is not None
        if hasattr(node, "variable"):  # the end of a graph: the image, since the parameters are frozen
            return True
        open_nodes.extend(following for following, _ in node.next_functions)
    return False


def _is_class_map(output: Tensor, layer: _Layer) -> bool:
    """One map per class, of which a class's score reads its own only: Grad-CAM would show the score itself."""
    classes = output.shape[1] if output.dim() == 2 else 0
    if layer.layout(layer.output).shape[1] != classes or classes < 2:
        return False
    best = int(output[0].argmax())
    (grad,) = torch.autograd.grad(output[0, best], layer.output, retain_graph=True, materialize_grads=True)
    read = layer.layout(grad).flatten(2).any(2)[0]  # (k,)
    return read.nonzero().flatten().tolist() == [best]


def _noise(x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, *x.shape[1:], generator=generator).to(x).requires_grad_(True)
