"""What a layer puts out as maps over the image: rows and columns found for convolutions, Swin and ViT tokens alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.activations import module_named
from advbench.core.gradients import attending, frozen
from advbench.core.scoring import fitting_piece, score_with_graph
from advbench.core.targets import Target
from advbench.types import ConfigError

_EXTRA_TOKENS = 16  # at most so many class and register tokens stand in front of the patches
_CLOSE = 2.0  # cells by which a map may miss the image's proportions: convolutions without padding shave the edge

Layout = Callable[[Tensor], Tensor]  # a layer's output, or a gradient like it -> (A, k, h, w)


class LayerGradient(NamedTuple):
    """A layer's maps and the gradient of each sample's own score with respect to them, both (B, k, h, w)."""

    maps: Tensor
    grad: Tensor


class MapReader:
    """Reads outputs as maps, from their shape and from the layers that ran before: see `reading_maps`."""

    def __init__(self, image: tuple[int, int]) -> None:
        self.image = image
        self.grid: tuple[int, int] | None = None  # of the last convolution: a ViT's patches
        self.channels_last = False  # did the last layer that shows it work on the last axis?

    def note(self, module: nn.Module, inputs: object, output: object) -> None:
        """A forward hook of convolutions, linear layers and layer norms."""
        if isinstance(output, Tensor) and output.dim() == 4:
            self.channels_last = not isinstance(module, nn.Conv2d) and not _first_by_memory(output)
            if isinstance(module, nn.Conv2d):
                self.grid = (output.shape[2], output.shape[3])

    def layout(self, output: object) -> Layout | None:
        """How the output just put out, or one like it, becomes (A, k, h, w): (A, k, h, w) as it is, (A, h, w, k)
        turned, tokens (A, T, k) without those of no patch. None if it has no rows and columns."""
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        if output.dim() == 4:
            return _turned if self._is_channels_last(output) else _as_it_is
        grid = self.grid_of(output.shape[1]) if output.dim() == 3 else None
        return None if grid is None else partial(_patches, grid=grid)

    def grid_of(self, tokens: int) -> tuple[int, int] | None:
        """(rows, columns) of the patches among so many tokens; None if no grid fits the image's proportions."""
        if self.grid is not None and 0 <= tokens - self.grid[0] * self.grid[1] <= _EXTRA_TOKENS:
            return self.grid
        height, width = self.image
        for cells in range(tokens, max(tokens - _EXTRA_TOKENS, 1), -1):
            rows = round((cells * height / width) ** 0.5)
            if rows and cells % rows == 0 and abs(cells // rows - width * rows / height) < 0.5:
                return rows, cells // rows
        return None

    def _is_channels_last(self, output: Tensor) -> bool:
        if _first_by_memory(output):
            return False
        first = self._fits(output.shape[2], output.shape[3])
        last = self._fits(output.shape[1], output.shape[2])
        return self.channels_last if first == last else last

    def _fits(self, rows: int, columns: int) -> bool:
        height, width = self.image
        return abs(columns - width * rows / height) <= _CLOSE


@contextmanager
def reading_maps(model: nn.Module, image: tuple[int, int]) -> Iterator[MapReader]:
    """Inside, the yielded reader follows the model's forward passes on images of that height and width."""
    reader = MapReader(image)
    kinds = (nn.Conv2d, nn.Linear, nn.LayerNorm)
    handles = []
    try:
        for module in model.modules():
            if isinstance(module, kinds):
                handles.append(module.register_forward_hook(reader.note))
        yield reader
    finally:
        for handle in handles:
            handle.remove()


def layer_gradient(model: nn.Module, x: Tensor, target: Target, layer: str) -> LayerGradient:
    """Maps of `layer` for x (B, C, H, W) and the gradient of the target's score with respect to them.

    The graph begins at the layer: what lies before it costs a forward pass without memory. Cut into pieces as
    `fitting_piece` says; what is not finite in the gradient becomes 0. Raises ConfigError if there is no such layer, if
    its output has no rows and columns, and if the score does not depend on it (the last tokens of a ViT, of which the
    head reads the class token only).
    """
    rows = torch.arange(len(x), device=x.device)
    size = max(fitting_piece(x) or len(x), 1)
    pieces = zip(torch.split(x, size), torch.split(rows, size), strict=True)
    found = [_layer_gradient(model, z, target, index, layer) for z, index in pieces]
    if len(found) == 1:
        return found[0]
    return LayerGradient(torch.cat([each.maps for each in found]), torch.cat([each.grad for each in found]))


def layer_maps(model: nn.Module, x: Tensor, layer: str) -> Tensor:
    """Maps (B, k, h, w) of `layer` for x (B, C, H, W), without graph. Raises ConfigError as `layer_gradient` does."""
    found = []
    with frozen(model), torch.no_grad():
        for z in torch.split(x.detach(), max(fitting_piece(x) or len(x), 1)):
            with _cut_at(model, layer, z) as cut:
                model(z)
            output, layout = _found(cut, layer)
            found.append(layout(output))
    return found[0] if len(found) == 1 else torch.cat(found)


def enlarge(heat: Tensor, size: tuple[int, int]) -> Tensor:
    """heat (A, k, h, w) at the image's size: bilinear, corners not aligned: a cell's centre stays its centre."""
    if tuple(heat.shape[2:]) == tuple(size):
        return heat
    return functional.interpolate(heat, size, mode="bilinear", align_corners=False)


def _layer_gradient(model: nn.Module, z: Tensor, target: Target, rows: Tensor, layer: str) -> LayerGradient:
    with frozen(model), torch.enable_grad(), attending(rows), _cut_at(model, layer, z) as cut:
        score = score_with_graph(model, z.detach(), target, rows)
        output, layout = _found(cut, layer)
        if not score.requires_grad:
            raise ConfigError(f"the score does not depend on layer {layer!r}: name one that lies before what is scored")
        (grad,) = torch.autograd.grad(score.sum(), output, materialize_grads=True)
    of_maps = layout(grad)
    if bool(grad.any()) and not bool(of_maps.any()):
        raise ConfigError(
            f"layer {layer!r}: the score depends on its class token only, not on its patches; "
            "name an earlier layer, such as the first norm of the last block"
        )
    return LayerGradient(layout(output.detach()), of_maps.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))


@dataclass
class _Cut:
    """What a layer put out last in one forward pass."""

    output: Tensor | None = None  # where the graph begins
    layout: Layout | None = None


@contextmanager
def _cut_at(model: nn.Module, layer: str, z: Tensor) -> Iterator[_Cut]:
    """Inside, the graph of a forward pass for z begins at the output of `layer`, which the yielded cut then holds.

    Of a layer used several times the last output that is a map counts.
    """
    module = module_named(model, layer)
    cut = _Cut()

    with reading_maps(model, (z.shape[2], z.shape[3])) as reader:

        def hook(module: nn.Module, inputs: object, output: object) -> Tensor | None:
            layout = reader.layout(output)
            if not isinstance(output, Tensor) or layout is None:
                if cut.layout is None and isinstance(output, Tensor):
                    cut.output = output
                return None
            leaf = output.detach().requires_grad_(torch.is_grad_enabled())
            cut.output, cut.layout = leaf, layout
            # A copy goes on: an in-place ReLU behind this layer must not change what was kept.
            return leaf.clone()

        handle = module.register_forward_hook(hook)
        try:
            yield cut
        finally:
            handle.remove()


def _found(cut: _Cut, layer: str) -> tuple[Tensor, Layout]:
    if cut.output is None or cut.layout is None:
        found = "no output" if cut.output is None else f"an output of shape {tuple(cut.output.shape)}"
        raise ConfigError(
            f"layer {layer!r} has {found}; it must be (B, C, H, W), (B, H, W, C) or tokens (B, T, C) of patches"
        )
    return cut.output, cut.layout


def _first_by_memory(output: Tensor) -> bool:
    """Channels that lie side by side in memory but not on the last axis: a view turned to (A, k, h, w)."""
    return output.shape[1] > 1 and output.stride(1) == 1


def _as_it_is(output: Tensor) -> Tensor:
    return output


def _turned(output: Tensor) -> Tensor:
    return output.permute(0, 3, 1, 2)


def _patches(output: Tensor, grid: tuple[int, int]) -> Tensor:
    patches = output[:, output.shape[1] - grid[0] * grid[1] :]  # class and register tokens stand in front
    return patches.transpose(1, 2).reshape(len(output), output.shape[2], *grid)
