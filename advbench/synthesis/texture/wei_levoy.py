"""A texture in scan order, each pixel from the nearest neighbourhood, coarse to fine. doi:10.1145/344779.345009."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.journal import phase
from advbench.registry import synthesis
from advbench.types import ConfigError

Array = NDArray[np.float32]
Nearest = Callable[[Array], int]  # neighbourhood (D,) -> index of the nearest of the sample's
Search = Callable[[Array], Nearest]  # the sample's neighbourhoods (P, D)

_SMALLEST = 8  # rows and columns of the sample's coarsest level


@synthesis(paper="doi:10.1145/344779.345009")
def wei_levoy(
    model: nn.Module | None,
    sample: Tensor,
    *,
    draws: Draws,
    size: Sequence[int] = (),
    window: int = 9,
    levels: int = 3,
    search: str = "brute",
) -> Tensor:
    """Images (B, C, H, W) with the texture of sample (B or 1, C, h, w), one for each of the draws; no network is used.

    Gaussian pyramids of `levels` sizes, the coarsest first. A level starts as pixels of the sample's drawn at random
    and is replaced in scan order: each pixel gets the colour of the sample's with the nearest neighbourhood, the
    part of a window x window square that is already made, and a square half as wide of the coarser level around the
    same place. The picture is taken as a torus, so it can be tiled. size: (H, W); twice the sample's if not given.
    search: "brute" (all differences) or "tree" (a k-d tree, exact too; in so many dimensions it takes ten times as long
    for a sample of 96 x 96). Every colour in the picture is one of the sample's.
    model is not looked at. Raises ConfigError for a sample smaller than the window, and for unknown words. Wei and
    Levoy 2000.
    """
    size = size or (2 * sample.shape[2], 2 * sample.shape[3])
    if window < 3 or window % 2 == 0 or levels < 1:
        raise ConfigError(f"window must be odd and at least 3, levels at least 1, got {window} and {levels}")
    if search not in _SEARCHES:
        raise ConfigError(f"search must be one of {', '.join(_SEARCHES)}, got {search!r}")
    if min(sample.shape[2:]) < window or min(size) < window:
        raise ConfigError(f"sample {tuple(sample.shape[2:])} and picture {tuple(size)} are smaller than {window}")
    if len(sample) not in (1, len(draws.sample_ids)):
        raise ConfigError(f"{len(sample)} samples for {len(draws.sample_ids)} textures: give one, or one for each")
    whole = sample.expand(len(draws.sample_ids), -1, -1, -1).cpu()
    made = [
        _made(
            each[None],
            (size[0], size[1]),
            draws.rows(torch.tensor([i])),
            window=window,
            levels=levels,
            search=_SEARCHES[search],
        )
        for i, each in enumerate(whole)
    ]
    return torch.cat(made).to(sample) if made else sample.new_zeros(0, sample.shape[1], *size)


def causal(window: int) -> list[tuple[int, int]]:
    """Offsets (row, column) in a window x window square that come before its centre in scan order."""
    half = window // 2
    square = [(row, column) for row in range(-half, 1) for column in range(-half, half + 1)]
    return square[: square.index((0, 0))]


def _made(sample: Tensor, size: tuple[int, int], draws: Draws, *, window: int, levels: int, search: Search) -> Tensor:
    """The picture (1, C, *size), one level after the other."""
    pyramid = [sample]
    while len(pyramid) < levels and min(pyramid[-1].shape[2:]) >= 2 * max(window, _SMALLEST):
        pyramid.append(_halved(pyramid[-1]))
    coarser: tuple[Array, Array] | None = None  # the level above: of the sample, of the picture
    for level in reversed(range(len(pyramid))):
        source = _pixels(pyramid[level])
        height, width = (max(window, side >> level) for side in size)
        count = source.shape[0] * source.shape[1]
        random = draws.integers(count, (height * width,), f"start {level}")[0].numpy()
        target = source.reshape(count, -1)[random].reshape(height, width, -1).copy()
        coarser = (source, _replaced(source, target, coarser, window, search))
    assert coarser is not None
    return torch.from_numpy(coarser[1]).permute(2, 0, 1)[None].to(sample.dtype)


def _replaced(source: Array, target: Array, coarser: tuple[Array, Array] | None, window: int, search: Search) -> Array:
    """target (H, W, C) with each pixel replaced in scan order; changed in place. coarser: both, one level above."""
    half, offsets = window // 2, causal(window)
    rows, columns = (np.array([offset[i] for offset in offsets]) for i in (0, 1))
    reach = max(1, half // 2)
    around = [np.array(side) for side in np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)]

    def neighbourhood(image: Array, above: Array | None, row: int, column: int) -> Array:
        height, width = image.shape[:2]
        part: Array = image[(row + rows) % height, (column + columns) % width].ravel()
        if above is None:
            return part
        up, across = above.shape[:2]
        centre = (row * up // height, column * across // width)
        return np.concatenate([part, above[(centre[0] + around[0]) % up, (centre[1] + around[1]) % across].ravel()])

    above = (None, None) if coarser is None else coarser
    # Only whole neighbourhoods inside the sample are models: the sample is no torus.
    places = [(r, c) for r in range(half, source.shape[0]) for c in range(half, source.shape[1] - half)]
    nearest = search(np.stack([neighbourhood(source, above[0], *place) for place in places]))
    height, width = target.shape[:2]
    with phase() as (story, at_step):
        first = 0
        if (known := story.recall()) is not None:
            first = known[0]
            target[...] = known[1][0].numpy()
        for i in range(first, height * width):
            row, column = divmod(i, width)
            at_step(i)
            story.note(i, (torch.from_numpy(target),))
            target[row, column] = source[places[nearest(neighbourhood(target, above[1], row, column))]]
            story.tell(i, height * width, torch.from_numpy(target).permute(2, 0, 1)[None], torch.zeros(1))
        story.note(height * width, (torch.from_numpy(target),), last=True)
    return target


def _by_tree(known: Array) -> Nearest:
    tree = cKDTree(known)
    return lambda wanted: int(tree.query(wanted)[1])


def _by_all(known: Array) -> Nearest:
    lengths = np.square(known).sum(1)
    return lambda wanted: int((lengths - 2.0 * (known @ wanted)).argmin())


_SEARCHES = {"tree": _by_tree, "brute": _by_all}


def _halved(image: Tensor) -> Tensor:
    """The next level of a Gaussian pyramid: blurred by (1 4 6 4 1) / 16 each way, every second pixel."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    planes = functional.pad(image.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="reflect")
    kernel = torch.outer(row, row)[None, None].to(image)
    return functional.conv2d(planes, kernel, stride=2).reshape(*image.shape[:2], *_half_sides(image))


def _half_sides(image: Tensor) -> tuple[int, int]:
    return (image.shape[2] + 1) // 2, (image.shape[3] + 1) // 2


def _pixels(image: Tensor) -> Array:
    return image[0].permute(1, 2, 0).contiguous().numpy().astype(np.float32)
