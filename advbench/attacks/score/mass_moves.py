"""The l2 and l1 moves of the square attack: a bump grows by what another window gives up. Not an attack.

Andriushchenko et al. 2020, arXiv:1912.00049, section 3.3 and algorithm 3. The mass of a perturbation is the sum of its
components to the power p, so that the masses of separate windows add up; p is 2, or 1 as in arXiv:2103.01208.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from advbench.core.draws_ahead import below, heads


@cache
def bump(side: int, p: float) -> Tensor:
    """A (side, side) float64 pattern of p-norm 1: a hill in the upper half, an upside down one in the lower.

    A hill of h x w falls from its middle in rings: a pixel in ring d = 0, 1, ... has the value of the sum of 1 / k^2
    (in l1 1 / k^4, as in the code of arXiv:2103.01208: steep, so that little is cut away) over
    k = d + 1 ... max(h, w) // 2 + 1.
    """
    upper = side // 2
    both = torch.cat([_hill(upper, side, p), -_hill(side - upper, side, p)])
    return both / both.abs().pow(p).sum().pow(1.0 / p)


@cache
def _bump_for(side: int, p: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`bump` where it is used: copied there once, and not at every step."""
    return bump(side, p).to(device, dtype)


def tiled_bumps(like: Tensor, words: Tensor, p: float) -> Tensor:
    """A perturbation (A, C, H, W) of bumps side by side, five along the shorter side, each with a random sign.

    words (A, (C + 1) * tiles(H, W)): a sign for each channel and tile, then a direction for each tile.
    """
    count, channels, height, width = like.shape
    side, number = _tile_side(height, width), tiles(height, width)
    (row, down), (column, across) = (_tile_of(length, side, like.device) for length in (height, width))
    inside = (row >= 0)[:, None] & (column >= 0)  # (H, W): a rim may be left over
    tile = (row.clamp_min(0)[:, None] * (width // side) + column.clamp_min(0)).flatten()  # (H * W)
    pattern = _bump_for(side, p, like.dtype, like.device)
    lying, standing = pattern[down[:, None], across] * inside, pattern[across, down[:, None]] * inside
    signs, turns = words[:, : channels * number], words[:, channels * number :]
    sign = 2.0 * heads(signs).to(like.dtype).reshape(count, channels, number)[..., tile] - 1.0
    return (sign * torch.where(heads(turns)[:, None, tile], lying.flatten(), standing.flatten())).reshape(like.shape)


def tiles(height: int, width: int) -> int:
    """How many bumps `tiled_bumps` lays on an image."""
    side = _tile_side(height, width)
    return (height // side) * (width // side)


def moved_mass(delta: Tensor, words: Tensor, side: int, eps: float, p: float) -> Tensor:
    """delta (A, C, H, W) after one move between random windows of side x side; its p-norm is eps again.

    In each channel the first window turns towards a bump of random sign, and takes over the mass of the second, which
    becomes 0, together with the channel's part of the mass that delta is short of. words (A, 5 + C).
    """
    channels, height, width = delta.shape[1:]
    flat = delta.flatten(2)
    first, second = (_window(words[:, at : at + 2], side, height, width, channels) for at in (0, 2))
    grown = flat.gather(2, first)
    rest = flat.scatter(2, first, 0.0)
    room = _mass(grown, p) + _mass(rest.gather(2, second), p)  # (A, C, 1) each pixel of the union once
    short = (eps**p - _mass(flat, p).sum(1, keepdim=True)).clamp_min(0.0)
    lying = _bump_for(side, p, delta.dtype, delta.device)
    pattern = torch.where(heads(words[:, 4:5]), lying.flatten(), lying.T.flatten())[:, None]  # (A, 1, side^2)
    sign = 2.0 * heads(words[:, 5:, None]).to(delta.dtype) - 1.0
    shape = sign * pattern + grown / _positive(_mass(grown, p)).pow(1.0 / p)
    shape = shape * ((room + short / channels) / _positive(_mass(shape, p))).pow(1.0 / p)
    return rest.scatter(2, second, 0.0).scatter(2, first, shape).reshape(delta.shape)


def _hill(height: int, width: int, p: float) -> Tensor:
    """(height, width) float64, not normalised."""
    down = (torch.arange(height) - height // 2).abs()
    across = (torch.arange(width) - width // 2).abs()
    rings = max(height, width) // 2 + 1
    values = (1.0 / torch.arange(1, rings + 1, dtype=torch.float64) ** (4.0 / p)).flip(0).cumsum(0).flip(0)
    return values[torch.maximum(down[:, None], across)]


def _window(corner: Tensor, side: int, height: int, width: int, channels: int) -> Tensor:
    """Positions (A, C, side^2) in the flat image of a square whose corner (A, 2) words choose, inside the image.

    The last place of each side is left out, as in the authors' code and in AutoAttack's. With it, 14.5 instead of
    13.2 % hold on a net for MNIST, whose rim tells nothing.
    """
    reach = torch.arange(side, device=corner.device)
    rows = below(max(1, height - side), corner[:, :1]) + reach  # (A, side)
    columns = below(max(1, width - side), corner[:, 1:]) + reach
    return (rows[:, :, None] * width + columns[:, None]).flatten(1)[:, None].expand(-1, channels, -1)


def _tile_side(height: int, width: int) -> int:
    return max(1, min(height, width) // 5)


def _tile_of(length: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of `length` pixels: its tile (-1 outside of all) and its place in it. The tiles stand in the middle."""
    number = length // side
    at = torch.arange(length, device=device) - (length - number * side) // 2
    tile = at.div(side, rounding_mode="floor")
    return torch.where((tile >= 0) & (tile < number), tile, -1), at % side


def _mass(part: Tensor, p: float) -> Tensor:
    return part.abs().pow(p).sum(-1, keepdim=True)


def _positive(mass: Tensor) -> Tensor:
    return mass.clamp_min(torch.finfo(mass.dtype).tiny)
