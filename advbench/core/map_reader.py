"""Which axes of a layer's output are rows and columns: those of convolutions, of Swin's layers and of ViT tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

_EXTRA_TOKENS = 16  # at most so many class and register tokens stand in front of the patches
_CLOSE = 2.0  # cells by which a map may miss the image's proportions: convolutions without padding shave the edge

Layout = Callable[[Tensor], Tensor]  # a layer's output, or a gradient like it -> (A, k, h, w)


class MapReader:
    """Reads outputs as maps, from their shape and from the layers that ran before: see `reading_maps`."""

    def __init__(self, image: tuple[int, int] = (1, 1)) -> None:
        self.image = image  # height and width: only their proportion counts
        self.grid: tuple[int, int] | None = None  # of the last convolution: a ViT's patches
        self.channels_last = False  # did the last layer that shows it work on the last axis?

    def see(self, module: nn.Module, inputs: tuple[object, ...]) -> None:
        """A forward pre-hook of the model."""
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].dim() == 4:
            self.image = (inputs[0].shape[2], inputs[0].shape[3])

    def note(self, module: nn.Module, inputs: object, output: object) -> None:
        """A forward hook of convolutions, linear layers and layer norms."""
        if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) > 1:
            return  # over all of a map, wherever its channels are
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
            return _turned if self.is_channels_last(output) else _as_it_is
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

    def channels_first(self, output: Tensor) -> Tensor:
        """The output just put out, maps (A, h, w, k) turned to (A, k, h, w), all others as they are."""
        return _turned(output) if self.is_channels_last(output) else output

    def is_channels_last(self, output: Tensor) -> bool:
        """Is the output just put out maps (A, h, w, k)?"""
        if output.dim() != 4 or _first_by_memory(output):
            return False
        first = self._fits(output.shape[2], output.shape[3])
        last = self._fits(output.shape[1], output.shape[2])
        if first != last:
            return last
        return self.channels_last or output.stride(3) > output.stride(1)  # a view of channels that came first

    def _fits(self, rows: int, columns: int) -> bool:
        height, width = self.image
        return abs(columns - width * rows / height) <= _CLOSE


@contextmanager
def reading_maps(model: nn.Module) -> Iterator[MapReader]:
    """Inside, the yielded reader follows the model's forward passes."""
    reader = MapReader()
    kinds = (nn.Conv2d, nn.Linear, nn.LayerNorm)
    handles = [model.register_forward_pre_hook(reader.see)]
    try:
        for module in model.modules():
            if isinstance(module, kinds):
                handles.append(module.register_forward_hook(reader.note))
        yield reader
    finally:
        for handle in handles:
            handle.remove()


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
