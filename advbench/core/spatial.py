"""A layer's maps over the image, for convolutions, Swin and ViT tokens alike, and the gradient with respect to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.activations import module_named
from advbench.core.gradients import attending, frozen
from advbench.core.map_reader import Layout, reading_maps
from advbench.core.scoring import row_pieces, score_with_graph
from advbench.core.targets import Target
from advbench.types import ConfigError


class LayerGradient(NamedTuple):
    """A layer's maps and the gradient of each sample's own score with respect to them, both (B, k, h, w)."""

    maps: Tensor
    grad: Tensor


class LayerPass(NamedTuple):
    """One forward pass of A samples: their scores (A,) with the graph, and the layer's output, a part of that graph."""

    score: Tensor
    output: Tensor
    layout: Layout  # how the output becomes maps


def layer_gradient(model: nn.Module, x: Tensor, target: Target, layer: str) -> LayerGradient:
    """Maps of `layer` for x (B, C, H, W) and the gradient of the target's score with respect to them.

    The graph begins at the layer: what lies before it costs a forward pass without memory. Cut into `row_pieces`; what
    is not finite in the gradient becomes 0. Raises ConfigError if there is no such layer, if its output has no rows and
    columns, and if the score does not depend on it (the last tokens of a ViT, of which the head reads the class token
    only).
    """
    found = [_layer_gradient(model, x[rows], target, rows, layer) for rows in row_pieces(x)]
    if len(found) == 1:
        return found[0]
    return LayerGradient(torch.cat([each.maps for each in found]), torch.cat([each.grad for each in found]))


def layer_maps(model: nn.Module, x: Tensor, layer: str) -> Tensor:
    """Maps (B, k, h, w) of `layer` for x (B, C, H, W), without graph. Raises ConfigError as `layer_gradient` does."""
    found = []
    with frozen(model), torch.no_grad():
        for rows in row_pieces(x):
            z = x[rows].detach()
            with _look_at(model, layer, z, cut=True) as look:
                model(z)
            output, layout = _found(look, layer)
            found.append(layout(output))
    return found[0] if len(found) == 1 else torch.cat(found)


def enlarge(heat: Tensor, size: tuple[int, int]) -> Tensor:
    """heat (A, k, h, w) at the image's size: bilinear, corners not aligned: a cell's centre stays its centre."""
    if tuple(heat.shape[2:]) == tuple(size):
        return heat
    return functional.interpolate(heat, size, mode="bilinear", align_corners=False)


def _layer_gradient(model: nn.Module, z: Tensor, target: Target, rows: Tensor, layer: str) -> LayerGradient:
    with frozen(model), torch.enable_grad(), attending(rows):
        return maps_and_gradient(layer_pass(model, z.detach(), target, rows, layer), layer)


def layer_pass(model: nn.Module, z: Tensor, target: Target, rows: Tensor, layer: str, *, cut: bool = True) -> LayerPass:
    """A pass of z (A, C, H, W), of the samples `rows` (A,), with a look at what `layer` puts out.

    cut: the graph begins at the layer, whatever z wants; otherwise the layer's output is a part of z's graph. Raises
    ConfigError if there is no such layer and if its output has no rows and columns.
    """
    with _look_at(model, layer, z, cut=cut) as look:
        score = score_with_graph(model, z, target, rows)
    return LayerPass(score, *_found(look, layer))


def maps_and_gradient(seen: LayerPass, layer: str, *, keep_graph: bool = False) -> LayerGradient:
    """The layer's maps in that pass and the gradient of each sample's own score with respect to them.

    keep_graph: another way down will follow. Raises ConfigError if the score does not depend on the layer's maps.
    """
    wanted = seen.score.requires_grad and seen.output.requires_grad
    grad = None
    if wanted:
        (grad,) = torch.autograd.grad(seen.score.sum(), seen.output, retain_graph=keep_graph, allow_unused=True)
    if grad is None:
        raise ConfigError(f"the score does not depend on layer {layer!r}: name one that lies before what is scored")
    of_maps = seen.layout(grad)
    if bool(grad.any()) and not bool(of_maps.any()):
        raise ConfigError(
            f"layer {layer!r}: the score depends on its class token only, not on its patches; "
            "name an earlier layer, such as the first norm of the last block"
        )
    return LayerGradient(seen.layout(seen.output.detach()), of_maps.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))


@dataclass
class _Look:
    """What a layer put out last in one forward pass."""

    output: Tensor | None = None
    layout: Layout | None = None


@contextmanager
def _look_at(model: nn.Module, layer: str, z: Tensor, *, cut: bool) -> Iterator[_Look]:
    """Inside, a forward pass for z leaves the output of `layer` in the yielded look.

    cut: the graph begins there. Of a layer used several times the last output that is a map counts.
    """
    module = module_named(model, layer)
    look = _Look()

    with reading_maps(model) as reader:

        def hook(module: nn.Module, inputs: object, output: object) -> Tensor | None:
            layout = reader.layout(output)
            if not isinstance(output, Tensor) or layout is None:
                if look.layout is None and isinstance(output, Tensor):
                    look.output = output
                return None
            kept = output.detach().requires_grad_(torch.is_grad_enabled()) if cut else output
            look.output, look.layout = kept, layout
            # A copy goes on: an in-place ReLU behind this layer must not change what was kept.
            return kept.clone()

        handle = module.register_forward_hook(hook)
        try:
            yield look
        finally:
            handle.remove()


def _found(look: _Look, layer: str) -> tuple[Tensor, Layout]:
    if look.output is None or look.layout is None:
        found = "no output" if look.output is None else f"an output of shape {tuple(look.output.shape)}"
        raise ConfigError(
            f"layer {layer!r} has {found}; it must be (B, C, H, W), (B, H, W, C) or tokens (B, T, C) of patches"
        )
    return look.output, look.layout
