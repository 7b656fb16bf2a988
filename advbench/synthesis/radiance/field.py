"""A radiance field as a grid of voxels: how much light is stopped at a place, and the colour that comes from there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_STOPS = 50.0  # extinction per unit of length for a density of 1: two voxels of 48 are opaque then


class Field(NamedTuple):
    """Values at the corners of voxels in the box [-1, 1]^3, indexed [z, y, x], trilinear in between.

    density (1, 1, D, D, D): negative values are empty space. colours (1, C, D, D, D) in [0, 1], the same from every
    side (a diffuse field).
    """

    density: Tensor
    colours: Tensor


def at(grid: Tensor, points: Tensor) -> Tensor:
    """The values (M, C) of grid (1, C, D, D, D) at points (M, 3), given as x, y, z in the box."""
    values = functional.grid_sample(grid, points[None, :, None, None], align_corners=True, padding_mode="border")
    return values[0, :, :, 0, 0].T


def extinction(density: Tensor, points: Tensor) -> Tensor:
    """Light stopped per unit of length at points (M, 3): (M,), not negative.

    Negative values are cut off behind the interpolation, so that a surface can be sharper than a voxel and what is
    empty is exactly so. Sun et al. 2022, arXiv:2111.11215.
    """
    return _STOPS * at(density, points)[:, 0].relu()


def filled(density: Tensor, points: Tensor) -> Tensor:
    """Is one of the corners around points (M, 3) not empty? (M,) bool: elsewhere the extinction is 0."""
    side = density.shape[-1]
    cells = functional.max_pool3d(density.detach(), 2, stride=1).flatten() > 0  # z, y, x
    x, y, z = (0.5 * (side - 1) * (points + 1.0)).long().clamp(0, side - 2).unbind(1)
    return cells[((side - 1) * z + y) * (side - 1) + x]


def resampled(field: Tensor, side: int) -> Tensor:
    """A grid (1, C, D, D, D) with `side` corners along each edge of the box."""
    return functional.interpolate(field, size=(side, side, side), mode="trilinear", align_corners=True)


def empty(side: int, channels: int, like: Tensor) -> Field:
    """A field with nothing in it."""
    density = torch.full((1, 1, side, side, side), -1.0, device=like.device, dtype=like.dtype)
    return Field(density, density.new_full((1, channels, side, side, side), 0.5))
