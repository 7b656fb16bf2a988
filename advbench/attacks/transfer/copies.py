"""Altered copies of an image under attack: gradients that agree on all of them belong to the image, not to the model.

Each is a `Look`: z (A, C, H, W) in [0, 1], the draws of these samples and the number of the look give (A, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.transforms import roll, warp
from advbench.core.view_gradient import Look


def chained(*looks: Look) -> Look:
    """The looks one after the other, each with draws of its own."""

    def look(z: Tensor, draws: Draws, number: int) -> Tensor:
        for i, each in enumerate(looks):
            z = each(z, draws.branch(f"look {i}"), number)
        return z

    return look


def resized(probability: float, smallest: float) -> Look:
    """With this probability shrunk to a share of its sides uniform in [smallest, 1], anywhere on a black canvas.

    Xie et al. 2019, arXiv:1803.06978, section 3.3; the canvas keeps the image's size, for networks that need it.
    """

    def look(z: Tensor, draws: Draws, number: int) -> Tensor:
        share = smallest + (1.0 - smallest) * draws.uniform((), "size", number).to(z)  # (A,)
        room = 0.5 * (1.0 - share)[:, None] * z.new_tensor(z.shape[2:])  # (A, 2) from the middle, in pixels
        place = (2.0 * draws.uniform((2,), "place", number).to(z) - 1.0) * room
        small = warp(z, factor=share, shift=-place / share[:, None], fill=0.0)
        chosen = draws.uniform((1, 1, 1), "chance", number).to(z) < probability
        return torch.where(chosen, small, z)

    return look


def darkened(scales: int) -> Look:
    """z / 2^i for i = number mod `scales`. Lin et al. 2020, arXiv:1908.06281, section 3.3."""
    return lambda z, draws, number: z * 0.5 ** (number % scales)


def admixed(scales: int, strength: float, pool: Tensor | None) -> Look:
    """(z + strength * another image) / 2^i for i = number mod `scales`; all scales of one z share the other image.

    It is drawn from `pool` (P, C, H, W); without one it is z itself, rolled and turned by 180 degrees or not, so that
    no sample depends on its neighbours. Wang et al. 2021, arXiv:2102.00436, equation 5.
    """

    def look(z: Tensor, draws: Draws, number: int) -> Tensor:
        turn = number // scales
        if pool is None:
            sides = draws.uniform((2,), "other", turn).to(z) * z.new_tensor(z.shape[2:])
            turned = draws.uniform((1, 1, 1), "turned", turn) < 0.5
            other = roll(torch.where(turned, z.detach().flip(2, 3), z.detach()), sides.long())
        else:
            other = pool.to(z)[draws.integers(len(pool), (), "other", turn)]
        return (z + strength * other) * 0.5 ** (number % scales)

    return look


def shuffled_blocks(blocks: int) -> Look:
    """Each of blocks x blocks random rectangles of the image altered in its own way: one of nine, drawn per rectangle.

    Shift down or right (around the rectangle), flip up-down, left-right or both, brightness times a factor in [0, 1),
    noise in [-16/255, 16/255), a coarser grid (0.4 to 0.8 of the rows and columns), a tenth of the values dropped.
    Wang et al. 2023, arXiv:2309.14700, table 1, without its tenth, the cosine transform.
    """

    def look(z: Tensor, draws: Draws, number: int) -> Tensor:
        count, channels, height, width = z.shape
        kind = draws.integers(9, (blocks, blocks), "kind", number)  # (A, blocks, blocks)
        u = draws.uniform((blocks, blocks), "how far", number)
        rows = _segments(height, blocks, draws, "rows", number)  # which, first, length: (A, H) each
        columns = _segments(width, blocks, draws, "columns", number)
        place = (torch.arange(count, device=z.device)[:, None, None], rows[0][:, :, None], columns[0][:, None, :])
        kind, u = kind[place], u[place]  # (A, H, W)
        down = _source(rows[1][:, :, None], rows[2][:, :, None], 1, kind, u, shift=0, flip=2)
        right = _source(columns[1][:, None, :], columns[2][:, None, :], 2, kind, u, shift=1, flip=3)
        source = (down * width + right).flatten(1)[:, None].expand(-1, channels, -1)
        seen = z.flatten(2).gather(2, source).reshape(z.shape)
        kind, u = kind[:, None], u[:, None].to(z)
        noise = (32.0 * draws.uniform((channels, height, width), "noise", number).to(z) - 16.0) / 255.0
        dropped = draws.uniform((channels, height, width), "dropped", number).to(z) < 0.1
        seen = torch.where(kind == 5, seen * u, seen)
        seen = torch.where(kind == 6, (seen + noise).clamp(0.0, 1.0), seen)
        return torch.where((kind == 8) & dropped, torch.zeros_like(seen), seen)

    return look


def _segments(side: int, blocks: int, draws: Draws, purpose: str, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """A side cut at random into at most `blocks` pieces: of each pixel (A, side) its piece, whose begin and length."""
    cuts = draws.integers(side + 1, (blocks - 1,), purpose, number).sort(1).values  # (A, blocks - 1)
    ends = functional.pad(functional.pad(cuts, (1, 0)), (0, 1), value=side)  # (A, blocks + 1)
    pixel = torch.arange(side, device=cuts.device)
    which = (pixel[None, :, None] >= cuts[:, None, :]).sum(2)  # (A, side)
    first = ends.gather(1, which)
    return which, first, ends.gather(1, which + 1) - first


def _source(first: Tensor, length: Tensor, axis: int, kind: Tensor, u: Tensor, *, shift: int, flip: int) -> Tensor:
    """For each pixel (A, H, W) where along `axis` its value is taken from: inside its own rectangle.

    first, length: of the rectangle along this axis. kind: what happens to it; shift, flip: the kinds of this axis.
    """
    side = kind.shape[axis]
    offset = torch.arange(side, device=kind.device).reshape(1, *(-1 if i == axis else 1 for i in (1, 2))) - first
    grid = 0.4 + 0.4 * u
    taken = torch.where(kind == shift, (offset + (u * length).long()) % length, offset)
    taken = torch.where((kind == flip) | (kind == 4), length - 1 - offset, taken)
    coarse = torch.minimum(((offset * grid).floor() / grid).ceil().long(), offset)
    return first + torch.where(kind == 7, coarse, taken)
