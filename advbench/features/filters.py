"""The weights of a convolution as pictures. Zeiler and Fergus 2014, arXiv:1311.2901, figure 6."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from advbench.models.normalize import Normalize
from advbench.types import ConfigError

Scale = Literal["each", "global"]


def filters(model: nn.Module, layer: str, *, pixel_space: bool = False) -> Tensor:
    """The weights (out, in, h, w) of the convolution `layer`, signed, as a copy.

    pixel_space: divided by the std of the model's normalisation, one factor per channel: the filter as it acts on
    pixels in [0, 1]; only for a layer that sees the channels of the image. A grouped convolution has in / groups.
    Raises ConfigError for a layer that is no 2-d convolution, or pixel_space for one behind others.
    """
    module = dict(model.named_modules()).get(layer)
    if not isinstance(module, nn.Conv2d):
        raise ConfigError(f"{layer} is no 2-d convolution: only those have filters to draw")
    weight = module.weight.detach().clone()
    if not pixel_space:
        return weight
    norms = [each for each in model.modules() if isinstance(each, Normalize)]
    first = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    if module is not first or module.groups != 1:
        raise ConfigError(f"{layer}: only the filters of the first convolution act on pixels")
    return weight / norms[0].std.to(weight) if norms else weight


def as_tiles(weight: Tensor, *, scale: Scale = "each") -> Tensor:
    """weight (out, in, h, w) brought to [0, 1] with 0 at 0.5: (out, in, h, w).

    each: a filter's largest magnitude becomes 0 or 1. global: that of all filters; a filter that does nothing then
    stays grey, which is what it is. A filter of zeros is 0.5 throughout.
    """
    ends = weight.abs().flatten(1).amax(1)
    if scale == "global":
        ends = ends.max().expand_as(ends)
    tiles = 0.5 + 0.5 * weight / ends.clamp_min(torch.finfo(weight.dtype).tiny)[:, None, None, None]
    return tiles.clamp(0.0, 1.0)


def tiled(tiles: Tensor, columns: int, *, gap: int = 1, fill: float = 1.0) -> Tensor:
    """Tiles (N, C, h, w) in rows of `columns`, `gap` pixels apart and around: (C, H, W); empty places hold `fill`."""
    count, channels, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = tiles.new_full((channels, rows * (height + gap) + gap, columns * (width + gap) + gap), fill)
    for i in range(count):
        top, left = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = tiles[i]
    return sheet


def untiled(sheet: Tensor, count: int, columns: int, size: tuple[int, int], *, gap: int = 1) -> Tensor:
    """The `count` tiles (N, C, h, w) of `size` (h, w) in a sheet that `tiled` made."""
    height, width = size
    places = [(gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)) for i in range(count)]
    return torch.stack([sheet[:, top : top + height, left : left + width] for top, left in places])
