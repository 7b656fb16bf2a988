"""A texture grown pixel by pixel, each copied from where the sample looks alike. doi:10.1109/ICCV.1999.790383."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.journal import phase
from advbench.registry import synthesis
from advbench.types import ConfigError

_SEED = 3  # rows and columns of the piece of the sample that the picture grows from
_ROUNDING = 1e-6  # mean squared difference that is taken for none


@synthesis(paper="doi:10.1109/ICCV.1999.790383")
def efros_leung(
    model: nn.Module | None,
    sample: Tensor,
    *,
    draws: Draws,
    size: Sequence[int] = (),
    window: int = 11,
    tolerance: float = 0.1,
    threshold: float = 0.3,
) -> Tensor:
    """Images (B, C, H, W) with the texture of sample (B or 1, C, h, w), one for each of the draws; no network is used.

    A 3 x 3 piece of the sample at the centre grows outwards. The empty pixel with most filled neighbours is next; it
    gets the colour of a pixel of the sample drawn from those whose neighbourhoods are at most (1 + tolerance) times as
    far as the nearest: mean squared difference of the colours at filled places, weighted by a Gaussian with deviation
    window / 6.4. One whose nearest is farther than `threshold` waits, and the threshold grows by a tenth when all wait.
    size: (H, W); one and a half times the sample's if not given. window: side, odd; it must exceed the texture's
    element. Every colour in the picture is one of the sample's. Seconds for 96 x 96 from 64 x 64; the time grows with
    the product of both areas and the window's. model is not looked at. Raises ConfigError for a sample smaller than the
    window and for numbers out of range. Efros and Leung 1999.
    """
    height, width = size or (sample.shape[2] * 3 // 2, sample.shape[3] * 3 // 2)
    if window < 3 or window % 2 == 0 or tolerance < 0 or threshold <= 0:
        raise ConfigError("window must be odd and at least 3, tolerance not negative, threshold positive")
    if min(sample.shape[2:]) < window or min(height, width) < _SEED:
        raise ConfigError(f"sample {tuple(sample.shape[2:])} and picture {height} x {width} do not fit window {window}")
    if len(sample) not in (1, len(draws.sample_ids)):
        raise ConfigError(f"{len(sample)} samples for {len(draws.sample_ids)} textures: give one, or one for each")
    pieces = [
        _grown(each[None], (height, width), draws.rows(torch.tensor([i])), window, (tolerance, threshold))
        for i, each in enumerate(sample.expand(len(draws.sample_ids), -1, -1, -1).cpu())
    ]
    return torch.cat(pieces).to(sample) if pieces else sample.new_zeros(0, sample.shape[1], height, width)


class _Patches:
    """All windows of a sample (1, C, h, w) that lie inside it, ready to be compared with one that has gaps."""

    def __init__(self, sample: Tensor, window: int) -> None:
        unfolded = functional.unfold(sample, window)[0].T.contiguous()  # (P, C window^2)
        self.channels, area = sample.shape[1], window * window
        self.values = unfolded.reshape(-1, self.channels, area)
        self.colours = self.values[:, :, area // 2].contiguous()  # (P, C) at the centres
        self.flat, self.squares = unfolded, self.values.square().sum(1)  # (P, area)
        offset = torch.arange(window) - window // 2
        row = torch.exp(-0.5 * (offset / (window / 6.4)) ** 2)
        self.gaussian = torch.outer(row, row).flatten()

    def distances(self, seen: Tensor, filled: Tensor) -> Tensor:
        """Weighted mean squared difference (P,) from seen (C, area) at the places that are filled (area,)."""
        weight = self.gaussian * filled
        weight = weight / weight.sum()
        own = (weight * seen.square().sum(0)).sum()
        # (p - s)^2 summed as p^2 - 2 p s + s^2: two products of a matrix and a vector instead of all differences.
        across = self.flat @ (weight * seen).flatten()
        return ((self.squares @ weight - 2.0 * across + own) / self.channels).clamp_min(0.0)


def _grown(sample: Tensor, size: tuple[int, int], draws: Draws, window: int, limits: tuple[float, float]) -> Tensor:
    """The picture (1, C, *size). Its canvas has a rim of half a window, never filled."""
    patches, half = _Patches(sample, window), window // 2
    tolerance, threshold = limits
    canvas = torch.zeros(sample.shape[1], size[0] + 2 * half, size[1] + 2 * half)
    filled = torch.zeros(canvas.shape[1:])
    open_ = functional.pad(torch.ones(size), (half,) * 4)  # where a pixel is wanted and not yet there
    top, left = (int(draws.integers(side - _SEED + 1, (), f"seed {i}")) for i, side in enumerate(sample.shape[2:]))
    rows, columns = (half + (side - _SEED) // 2 for side in size)
    place = (slice(rows, rows + _SEED), slice(columns, columns + _SEED))
    canvas[:, *place] = sample[0, :, top : top + _SEED, left : left + _SEED]
    filled[place], open_[place] = 1.0, 0.0
    total = size[0] * size[1]
    chances = draws.uniform((total,), "choice")[0].tolist()
    with phase() as (story, at_step):
        if (known := story.recall()) is not None:
            _, (canvas, filled, open_, grown) = known
            threshold = float(grown)
        while (done := total - int(open_.sum())) < total:
            before = done
            for row, column in _shell(filled, open_):
                here = (slice(row - half, row + half + 1), slice(column - half, column + half + 1))
                far = patches.distances(canvas[:, *here].flatten(1), filled[here].flatten())
                best = float(far.min())
                if best > threshold:
                    continue
                near = (far <= (1.0 + tolerance) * best + _ROUNDING).nonzero()[:, 0]
                canvas[:, row, column] = patches.colours[near[int(chances[done] * len(near))]]
                filled[row, column], open_[row, column] = 1.0, 0.0
                at_step(done)
                picture = canvas[None, :, half : half + size[0], half : half + size[1]]
                story.tell(done, total, picture, torch.tensor([best]))
                done += 1
            if done == before:
                threshold *= 1.1
            # Noted only here, where a ring is complete: a picture taken up again is the same.
            story.note(done, (canvas, filled, open_, torch.tensor(threshold)))
        story.note(total, (canvas, filled, open_, torch.tensor(threshold)), last=True)
    return canvas[None, :, half : half + size[0], half : half + size[1]].clone()


def _shell(filled: Tensor, open_: Tensor) -> list[tuple[int, int]]:
    """Empty pixels beside filled ones, those with most filled neighbours (of eight) first, else in scan order."""
    neighbours = functional.conv2d(filled[None, None], torch.ones(1, 1, 3, 3), padding=1)[0, 0] * open_
    places = neighbours.nonzero()
    order = neighbours[places[:, 0], places[:, 1]].argsort(descending=True, stable=True)
    return [(int(row), int(column)) for row, column in places[order].tolist()]
