"""Simple black-box attack: one basis direction at a time, one way or the other. Guo et al. 2019, arXiv:1905.07121."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, pi, sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import positive
from advbench.attacks.score.random_search import enough_queries, random_search
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.losses import cross_entropy, margin_loss
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

# The DCT basis begins with the lowest eighth of the frequencies along each side (section 3.1), then the next eighth.
_BANDS = 8


@attack(norms=(2, inf), access="scores", paper="arXiv:1905.07121", unbounded=True, cost=(5000, 0))
def simba(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    step_size: float = 0.2,
    basis: Literal["pixel", "dct"] = "pixel",
) -> Tensor:
    """x_adv after steps of length step_size along directions of an orthonormal basis in random order (algorithm 1).

    A direction is tried upwards, then downwards, and the first way that lowers the loss is kept: one query each. A way
    that the ball or the box holds back altogether is passed over without a query. basis: "pixel", single components;
    "dct", cosines over one channel, low frequencies first. When all directions are used up they come again. The loss is
    the margin (the paper's probability is flat where a model is sure), or the cross entropy to the target. With a
    radius, every point is projected into the ball, which the paper has only through its number of steps.
    queries: most forward passes of one sample, that of x included.
    Raises ConfigError if queries < 2, step_size <= 0 or `basis` is another word.
    """
    if basis not in _BASES:
        raise ConfigError(f"simba: basis must be pixel or dct, got {basis!r}")
    with frozen(model):
        moves = _Moves(x, threat, draws, positive("step_size", step_size), basis)
        return random_search(
            x,
            misclassify(model, y, targeted=targeted, loss=cross_entropy if targeted else margin_loss),
            propose=moves.propose,
            learn=moves.learn,
            steps=enough_queries(queries, 2, "one for x and one for a first try") - 1,
        ).z


class _Moves:
    """Where each sample stands in its list of directions, and which way it tries next."""

    def __init__(self, x: Tensor, threat: ThreatModel, draws: Draws, size: float, basis: str) -> None:
        channels, height, width = x.shape[1:]
        make, bands = _BASES[basis]
        self.size, self.shape, self.project = size, (channels, height, width), within(threat, x)
        self.down, self.across = make(height).to(x), make(width).to(x)  # a direction is the product of a row of each
        order = draws.uniform((channels, height, width), "order").double() + _band(height, width, bands).to(x.device)
        self.order = order.flatten(1).argsort(dim=1, stable=True)  # (B, D)
        self.turn = torch.zeros_like(draws.sample_ids)  # (B,) position in the order
        self.upwards = torch.ones_like(self.turn, dtype=torch.bool)

    def propose(self, best: Tensor, rows: Tensor, step: int) -> Tensor:
        candidates = self._moved(best, rows)
        for _ in range(2):  # the other way of this direction, the first of the next one
            held_back = (candidates == best).flatten(1).all(1)
            self._go_on(rows, held_back, held_back & ~self.upwards[rows])
            candidates = self._moved(best, rows)
        return candidates

    def learn(self, kept: Tensor, rows: Tensor) -> None:
        self._go_on(rows, torch.ones_like(kept), kept | ~self.upwards[rows])

    def _go_on(self, rows: Tensor, asked: Tensor, finished: Tensor) -> None:
        """Where `asked` (A,): to the next direction if this one is `finished`, else to its other way."""
        self.upwards[rows] = torch.where(asked, finished, self.upwards[rows])
        self.turn[rows] += finished.long()

    def _moved(self, best: Tensor, rows: Tensor) -> Tensor:
        _, height, width = self.shape
        index = self.order[rows, self.turn[rows] % max(1, self.order.shape[1])]
        channel, place = index // (height * width), index % (height * width)
        plane = self.down[place // width][:, :, None] * self.across[place % width][:, None]  # (A, H, W)
        size = torch.where(self.upwards[rows], self.size, -self.size).to(best)
        planes = torch.arange(self.shape[0], device=best.device) == channel[:, None]  # (A, C)
        move = planes[:, :, None, None] * (size[:, None, None] * plane)[:, None]
        return self.project(best + move, rows)


def _band(height: int, width: int, bands: int) -> Tensor:
    """(H, W): which of the `bands` a pair of frequencies belongs to, by the higher of both."""
    return torch.maximum(torch.arange(height)[:, None] * bands // height, torch.arange(width) * bands // width)


def _cosines(length: int) -> Tensor:
    """The orthonormal DCT-II: (length, length) float64, row i is the cosine of frequency i."""
    frequency = torch.arange(length, dtype=torch.float64)[:, None]
    rows = torch.cos(pi * frequency * (torch.arange(length) + 0.5) / length) * sqrt(2.0 / length)
    return torch.where(frequency == 0, rows / sqrt(2.0), rows)


def _pixels(length: int) -> Tensor:
    return torch.eye(length, dtype=torch.float64)


_BASES: dict[str, tuple[Callable[[int], Tensor], int]] = {"pixel": (_pixels, 1), "dct": (_cosines, _BANDS)}
