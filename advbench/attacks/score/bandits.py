"""Bandits with priors: the estimate of one step is the start of the next. Ilyas et al. 2019, arXiv:1807.07978."""

from __future__ import annotations

from math import inf, prod, sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.score.random_search import enough_queries
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import evaluate, frozen
from advbench.core.keep import keep_strongest
from advbench.core.losses import margin_loss
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import within
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


class _Settings(NamedTuple):
    """Appendix C of the paper, which steps by 0.01 at eps 0.05 in linf and by 0.5 at eps 5 in l2.

    Its learning rates are those of a prior of 3 * 50 * 50 components, see `_rate`.
    """

    relative_step: float
    learning_rate: float
    exploration: float
    probe: float


_DEFAULTS = {inf: _Settings(0.2, 100.0, 1.0, 0.1), 2.0: _Settings(0.1, 0.1, 0.01, 0.01)}
_SQUARES = 50  # along a side of the paper's prior
_COMPONENTS = 3 * _SQUARES**2


@attack(norms=(2, inf), access="scores", paper="arXiv:1807.07978", nested=True, cost=(4999, 0))
def bandits(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    relative_step: float | None = None,
    learning_rate: float | None = None,
    exploration: float | None = None,
    probe: float | None = None,
    tile: int | None = None,
) -> Tensor:
    """x_adv: the strongest point on a path of steps from x along a prior, which two queries per step improve.

    The prior is a guess of the gradient that is kept from step to step (the time prior) and is constant on squares (the
    data prior). tile: side of these squares in pixels; None: the paper's share of the image, whose 6 of 299 pixels are
    a fiftieth, at least 1. On a plain MNIST net squares of 3 find more in the first 1,000 queries and less in 5,000.
    exploration: length of the random change of the prior that is tried both ways. probe: l2 length of the moves of the
    image that try it. learning_rate: of the prior, by exponentiated gradients in linf, by gradients in l2.
    relative_step: length of a step of the image in units of eps. The four are the paper's for each norm if None, the
    learning rate in proportion to the size of the prior (linf) or its root (l2): the same slope of the loss then moves
    the prior as far as in the paper. With the paper's 100 a prior of 100 squares jumps to its ends at each step and
    forgets what it knew. The loss is the margin. queries: most forward passes of one sample; a step costs 3, one of
    them to look for success.
    Raises ConfigError if threat.eps is None, queries < 4, tile < 1, or one of the four is not positive.
    """
    known = _DEFAULTS[threat.norm]
    side = max(1, round(min(x.shape[2:]) / _SQUARES)) if tile is None else at_least_one("tile", tile)
    rate = _rate(x.shape[1:], threat.norm, side)
    given = _Settings(
        positive("relative_step", known.relative_step if relative_step is None else relative_step),
        positive("learning_rate", rate if learning_rate is None else learning_rate),
        positive("exploration", known.exploration if exploration is None else exploration),
        positive("probe", known.probe if probe is None else probe),
    )
    size = given.relative_step * threat.radius
    prior = _Prior(x, threat, draws, given, side)
    with frozen(model):
        return descend(
            x,
            misclassify(model, y, targeted=targeted, loss=margin_loss),
            step=steepest(threat.norm, size),
            steps=(enough_queries(queries, 4, "three for a step and one for a look at its end") - 1) // 3,
            project=within(threat, x),
            gradient=prior.gradient,
            keep=keep_strongest,
        ).z


def _squares(shape: torch.Size, tile: int) -> tuple[int, int, int]:
    """Channels, rows and columns of the prior of images of this shape (C, H, W)."""
    return shape[0], -(-shape[1] // tile), -(-shape[2] // tile)


def _rate(shape: torch.Size, norm: float, tile: int) -> float:
    """The paper's learning rate, for the prior that images of this shape have.

    A look along a change of d components, each of size 1 / sqrt(d), sees the share 1 / sqrt(d) of the slope; so the log
    odds move by learning_rate / d times it (linf), and the prior by learning_rate / sqrt(d) (l2).
    """
    share = prod(_squares(shape, tile)) / _COMPONENTS
    return _DEFAULTS[norm].learning_rate * (share if norm == inf else sqrt(share))


class _Prior:
    """Every sample's guess of the gradient, (B, C, rows, columns) of squares of `tile` pixels."""

    def __init__(self, x: Tensor, threat: ThreatModel, draws: Draws, settings: _Settings, tile: int) -> None:
        self.threat, self.draws, self.settings, self.tile = threat, draws, settings, tile
        self.shape = x.shape[1:]
        self.guess = x.new_zeros(len(x), *_squares(self.shape, tile))
        self.step = 0

    def gradient(self, objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
        """The objective at z, and the guess after one more look along a random change of it (algorithm 3)."""
        evaluation = evaluate(objective, z, rows)
        at_work = (~evaluation.reached).nonzero()[:, 0]
        if len(at_work):
            self._learn(objective, z[at_work], rows[at_work])
        self.step += 1
        return evaluation, self._image(self.guess[rows])

    def _learn(self, objective: Objective, z: Tensor, rows: Tensor) -> None:
        guess = self.guess[rows]
        change = self.draws.rows(rows).normal(tuple(guess.shape[1:]), "change", self.step).to(z.dtype)
        change = change * (self.settings.exploration / sqrt(max(1, guess[0].numel())))
        both = torch.stack([guess + change, guess - change], 1).flatten(0, 1)  # (2 A, C, rows, columns)
        moves = self._image(both)
        length = lengths(moves, 2.0).clamp_min(torch.finfo(z.dtype).tiny)
        moves = moves * torch.as_tensor(per_sample(self.settings.probe / length, moves))
        probes = (z.repeat_interleave(2, 0) + moves).clamp(self.threat.low, self.threat.high)
        up, down = evaluate(objective, probes, rows.repeat_interleave(2)).loss.reshape(-1, 2).unbind(1)
        slope = (up - down).to(z.dtype) / (self.settings.probe * self.settings.exploration)
        slope = slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        change = torch.as_tensor(per_sample(slope, change)) * change * self.settings.learning_rate
        if self.threat.norm == 2.0:
            self.guess[rows] = guess + change
        else:  # odds of up against down, times e^(2 change); the sigmoid form cannot overflow
            self.guess[rows] = 2.0 * torch.sigmoid(torch.logit(0.5 * (guess + 1.0), eps=1e-6) + 2.0 * change) - 1.0

    def _image(self, squares: Tensor) -> Tensor:
        whole = functional.interpolate(squares, scale_factor=self.tile, mode="nearest")
        return whole[..., : self.shape[1], : self.shape[2]]
