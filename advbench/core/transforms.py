"""Views: differentiable looks at an image batch, random ones drawn per sample, that a picture should survive.

A view maps z (A, C, H, W) and the draws of those A samples to (A, C, H', W'). `counter` tells one look from the next:
equal counters give equal views, whatever the batch. Views hold no state; a fixed view ignores both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from advbench.core.draws import Counter, Draws
from advbench.core.journal import current_step
from advbench.core.objectives import Objective
from advbench.types import Evaluation

View = Callable[[Tensor, Draws, Counter], Tensor]


def compose(*views: View) -> View:
    """The views one after the other, each with draws of its own, so that two of a kind move independently."""

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        for i, each in enumerate(views):
            z = each(z, draws.branch(f"view {i}"), counter)
        return z

    return view


def through_views(view: View, draws: Draws, objective: Objective, *, looks: int = 1) -> Objective:
    """The objective of view(z): its mean over `looks` views, reached where every one of them reaches it.

    Each step of a descent sees new views, the k-th step always the same ones: cutting the batch, letting rows leave or
    taking up an interrupted descent changes nothing. `draws` are those of the batch.
    """

    def seen(z: Tensor, rows: Tensor) -> Evaluation:
        mine, first = draws.rows(rows), looks * current_step()
        each = [objective(view(z, mine, first + i), rows) for i in range(looks)]
        loss = torch.stack([evaluation.loss for evaluation in each]).mean(0)
        return Evaluation(loss, torch.stack([evaluation.reached for evaluation in each]).all(0))

    return seen


def jitter(pixels: int) -> View:
    """Shift by a whole number of pixels, at most `pixels` each way; what leaves on one side enters on the other."""

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        return roll(z, draws.integers(2 * pixels + 1, (2,), "jitter", counter) - pixels)

    return view


def rotate(degrees: float, *, fill: float = 0.5) -> View:
    """Turn about the centre by an angle uniform in [-degrees, degrees]; the corners left empty show `fill`."""

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        return warp(z, angle=math.radians(degrees) * _centred(draws, "rotate", counter), fill=fill)

    return view


def scale(low: float, high: float, *, fill: float = 0.5) -> View:
    """Enlarge about the centre by a factor uniform in [low, high], on the same canvas; the rim left empty shows `fill`.

    Raises ValueError unless 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ValueError(f"scale: need 0 < low <= high, got [{low}, {high}]")

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        factor = low + (high - low) * draws.uniform((), "scale", counter)
        return warp(z, factor=factor, fill=fill)

    return view


def crop_resize(low: float, high: float, *, size: tuple[int, int] | None = None) -> View:
    """A crop whose sides are a share, uniform in [low, high], of the image's, anywhere inside, resized to `size`.

    size: (height, width), that of z if None. Bilinear without prefilter: choose `size` not far below the crop's own.
    Raises ValueError unless 0 < low <= high <= 1.
    """
    if not 0 < low <= high <= 1:
        raise ValueError(f"crop_resize: need 0 < low <= high <= 1, got [{low}, {high}]")

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        share = low + (high - low) * draws.uniform((), "crop size", counter)  # (A,)
        room = z.new_tensor(z.shape[2:]) * (1.0 - share)[:, None]  # (A, 2) pixels outside of the crop
        place = draws.uniform((2,), "crop place", counter) - 0.5
        grown = z.new_tensor(size or z.shape[2:]) / z.new_tensor(z.shape[2:])
        return warp(z, factor=grown / share[:, None], shift=place * room, size=size)

    return view


def pad(pixels: int, *, fill: float = 0.5) -> View:
    """A rim of `pixels` of the colour `fill` on every side."""
    return lambda z, draws, counter: functional.pad(z, (pixels,) * 4, value=fill)


def blur(sigma: float) -> View:
    """Convolution with a Gaussian of standard deviation `sigma` pixels, cut at 4 sigma; the edge pixels go on outside.

    sigma 0 is the identity. Raises ValueError if sigma < 0.
    """
    if sigma < 0:
        raise ValueError(f"blur: sigma must not be negative, got {sigma}")
    reach = math.ceil(4.0 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    weights = weights / weights.sum()

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        kernel = weights.to(z).reshape(1, 1, -1, 1)
        planes = functional.pad(z.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
        # The Gaussian is separable: a column and a row instead of a square.
        planes = functional.conv2d(functional.conv2d(planes, kernel), kernel.transpose(2, 3))
        return planes.reshape(z.shape)

    return view


def noise(deviation: float) -> View:
    """Gaussian noise of standard deviation `deviation` added to every component."""
    return lambda z, draws, counter: z + deviation * draws.normal(tuple(z.shape[1:]), "noise", counter).to(z)


def roll(z: Tensor, shift: Tensor) -> Tensor:
    """z (A, C, H, W) with each sample rolled down and right by shift (A, 2) int64; undone by the negative shift."""
    rolled: Tensor = _Roll.apply(z, shift)
    return rolled


class _Roll(torch.autograd.Function):
    """The gradient is rolled back, which is much faster than the scattering that indexing is differentiated by."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(shift)
        return _rolled(z, shift)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        (shift,) = ctx.saved_tensors
        return roll(grads[0], -shift), None


def _rolled(z: Tensor, shift: Tensor) -> Tensor:
    channels, height, width = z.shape[1:]
    down = (torch.arange(height, device=z.device) - shift[:, :1]) % height  # (A, H)
    right = (torch.arange(width, device=z.device) - shift[:, 1:]) % width  # (A, W)
    place = (width * down[:, :, None] + right[:, None]).flatten(1)  # (A, H W)
    return z.flatten(2).gather(2, place[:, None].expand(-1, channels, -1)).reshape(z.shape)


def warp(
    z: Tensor,
    *,
    angle: Tensor | None = None,
    factor: Tensor | None = None,
    shift: Tensor | None = None,
    size: tuple[int, int] | None = None,
    fill: float = 0.5,
) -> Tensor:
    """z (A, C, H, W) turned, enlarged and moved per sample, bilinear, on a canvas of `size` (that of z if None).

    angle (A,): radians, counter-clockwise as displayed. factor (A,) or (A, 2): down and across. shift (A, 2): where the
    centre of the canvas lies in z, in pixels of z down and right of its centre. Outside of z lies `fill`.
    """
    count, height, width = len(z), *z.shape[2:]
    canvas = size or (height, width)
    down, right = torch.meshgrid(*(_offsets(side, z) for side in canvas), indexing="ij")  # from the centre, in pixels
    turn = z.new_zeros(count) if angle is None else angle.to(z)
    cos, sin = turn.cos()[:, None, None], turn.sin()[:, None, None]
    grown = z.new_ones(count, 1) if factor is None else factor.to(z)[:, None].flatten(1)
    moved = z.new_zeros(count, 2) if shift is None else shift.to(z)
    # Each pixel of the canvas asks where it comes from: back by the turn, then by the factor, then to its centre.
    rows = (cos * down + sin * right) / grown[:, :1, None] + moved[:, :1, None]  # (A, *canvas)
    columns = (cos * right - sin * down) / grown[:, -1:, None] + moved[:, 1:, None]
    grid = torch.stack([2.0 * columns / width, 2.0 * rows / height], dim=-1)  # edges of z at -1 and 1
    # Zeros outside of z - fill: the fill outside of z.
    seen = functional.grid_sample(z - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return seen + fill


def _offsets(side: int, like: Tensor) -> Tensor:
    return torch.arange(side, dtype=like.dtype, device=like.device) - 0.5 * (side - 1)


def _centred(draws: Draws, purpose: str, counter: Counter) -> Tensor:
    return 2.0 * draws.uniform((), purpose, counter) - 1.0
