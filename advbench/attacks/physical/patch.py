"""A visible square on each image, optimised in place. LaVAN: Karmon et al. 2018, arXiv:1801.02608."""

from __future__ import annotations

import math
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen
from advbench.core.keep import keep_better, keep_strongest, nothing_kept
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import into_box
from advbench.core.step_rules import cosine, steepest
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_SHARE = 0.05  # of the image's area, without a radius; the paper goes down to 0.02


@attack(norms=(0,), access="gradient", paper="arXiv:1801.02608", unbounded=True, structured=True, cost=(101, 100))
def patch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    size: float | None = None,
    place: tuple[int, int] | None = None,
    steps: int = 100,
    step_size: float = 0.2,
    restarts: int = 1,
) -> Tensor:
    """x_adv: x with one square of its pixels replaced, each image by its own; the strongest square of the path.

    The norm is l0, changed components: a radius allows the largest square with at most eps of them, and x itself is
    returned if that is no pixel. size: the square's share of the image's area, in (0, 1] (default: what the radius
    allows, 0.05 without one; with both the smaller counts). place: row and column of the upper left corner, moved
    inwards where the square would leave the image (default: drawn per sample). The square starts as the pixels that
    it covers and takes `steps` steps along the gradient's sign, from step_size down to nothing along half a cosine, to
    raise the cross entropy (to lower that of y, if `targeted`). restarts: further runs for the samples that survived,
    at other drawn places and from noise.
    Raises ConfigError if size is not in (0, 1], place is negative, steps or restarts < 1, or step_size <= 0.
    """
    side = _side(x, threat, size)
    if place is not None and min(place) < 0:
        raise ConfigError(f"place must be the row and column of a pixel, got {place}")
    at_least_one("steps", steps), at_least_one("restarts", restarts)
    step = steepest(inf, positive("step_size", step_size), schedule=cosine(1.0, 0.0))
    kept = nothing_kept(x)
    with frozen(model):
        for run in range(restarts):
            left = (~kept.reached).nonzero()[:, 0]
            if not len(left) or not side:
                break
            mine = draws.rows(left)
            squares = _squares(x[left], side, place, mine, run)
            start = squares.cut()
            if run:
                noise = mine.uniform(tuple(start.shape[1:]), "patch", run).to(start)
                start = threat.low + (threat.high - threat.low) * noise
            with attending(left):
                found = descend(
                    start,
                    _pasted(squares, misclassify(model, y[left], targeted=targeted)),
                    step=step,
                    steps=steps,
                    project=into_box(threat.low, threat.high),
                    keep=keep_strongest,
                )
            z = squares.paste(found.z, torch.arange(len(left), device=x.device))
            kept = keep_better(kept, z, Evaluation(found.loss, found.reached), left, keep_strongest)
    return kept.z


class _Squares(NamedTuple):
    """A square on each of the images x (B, C, H, W): the flat positions (B, side * side) of its pixels."""

    x: Tensor
    pixels: Tensor
    side: int

    def cut(self) -> Tensor:
        """What the images show there, (B, C, side, side)."""
        seen = self.x.flatten(2).gather(2, self._index(self.pixels))
        return seen.reshape(*self.x.shape[:2], self.side, self.side)

    def paste(self, z: Tensor, rows: Tensor) -> Tensor:
        """The images of `rows` (A,) with z (A, C, side, side) in place; nothing else changes, not by a bit."""
        images = self.x[rows]
        pasted = images.flatten(2).scatter(2, self._index(self.pixels[rows]), z.flatten(2))
        return pasted.reshape(images.shape)

    def _index(self, pixels: Tensor) -> Tensor:
        return pixels[:, None].expand(-1, self.x.shape[1], -1)


def _pasted(squares: _Squares, objective: Objective) -> Objective:
    return lambda z, rows: objective(squares.paste(z, rows), rows)


def _side(x: Tensor, threat: ThreatModel, size: float | None) -> int:
    """The square's side in pixels; 0 where the radius does not allow a pixel. ConfigError if size is not in (0, 1]."""
    if size is not None and not 0 < size <= 1:
        raise ConfigError(f"size must be in (0, 1], a share of the image's area, got {size}")
    channels, height, width = x.shape[1:]
    allowed = min(height, width)
    if threat.eps is not None:
        allowed = min(allowed, math.isqrt(int(threat.eps) // channels))
        if size is None:
            return allowed
    share = _SHARE if size is None else size
    return min(allowed, max(1, round(math.sqrt(share * height * width))))


def _squares(x: Tensor, side: int, place: tuple[int, int] | None, draws: Draws, run: int) -> _Squares:
    height, width = x.shape[2:]
    if place is None:
        rooms = torch.tensor([height - side + 1, width - side + 1], device=x.device)
        corner = (draws.uniform((2,), "place", run).to(x.device) * rooms).long()
    else:
        inside = (min(place[0], height - side), min(place[1], width - side))
        corner = torch.tensor(inside, device=x.device).expand(len(x), 2)
    reach = torch.arange(side, device=x.device)
    rows, columns = corner[:, :1] + reach, corner[:, 1:] + reach  # (B, side) each
    pixels = rows[:, :, None] * width + columns[:, None, :]
    return _Squares(x, pixels.flatten(1), side)
