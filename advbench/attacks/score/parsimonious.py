"""Parsimonious attack: which blocks go up, by a lazy greedy local search. Moon et al. 2019, arXiv:1905.06635."""

from __future__ import annotations

from math import ceil, inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.score.random_search import enough_queries, look_at
from advbench.core.draws import Draws
from advbench.core.gradients import evaluate, frozen
from advbench.core.keep import keep_better, keep_strongest
from advbench.core.losses import cross_entropy, margin_loss
from advbench.core.objectives import misclassify
from advbench.registry import attack
from advbench.types import ThreatModel

# Blocks that are weighed against each other before the next lot is looked at: section 4.3 of the paper.
_AT_A_TIME = 64


@attack(norms=(inf,), access="scores", paper="arXiv:1905.06635", nested=True, cost=(5000, 0))
def parsimonious(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    block: int | None = None,
) -> Tensor:
    """x_adv: each block of each channel at the lower or the upper end of ball and box, found by local search.

    All blocks start low. Of 64 blocks at a time, those that are low are raised as long as that lowers the loss, the
    best first, then those that are high are lowered (algorithms 1 and 2); gains from before a change count as bounds,
    so that only the most promising block is asked about again. When all have had their turn, blocks are halved
    (algorithm 3). block: side of the first blocks, in pixels; an eighth of the shorter side if None, about the paper's
    4 of 32. The loss is the margin, or the cross entropy to the target. queries: most forward passes of one sample.
    Raises ConfigError if threat.eps is None, queries < 2 or block < 1.
    """
    floor, ceiling = (x - threat.radius).clamp_min(threat.low), (x + threat.radius).clamp_max(threat.high)
    enough_queries(queries, 2, "one for x and one for the start")
    side = max(1, round(min(x.shape[2:]) / 8)) if block is None else at_least_one("block", block)
    objective = misclassify(model, y, targeted=targeted, loss=cross_entropy if targeted else margin_loss)
    with frozen(model):
        kept = look_at(x, objective)
        rows = (~kept.reached).nonzero()[:, 0]
        greedy = _Greedy(x, draws, side)
        for query in range(1, queries):
            if not len(rows):
                break
            up = greedy.propose(rows) if query > 1 else greedy.up[rows]
            z = torch.where(up.reshape(-1, *x.shape[1:]), ceiling[rows], floor[rows])
            answer = evaluate(objective, z, rows)
            greedy.learn(rows, answer.loss, start=query == 1)
            kept = keep_better(kept, z, answer, rows, keep_strongest)
            rows = rows[~answer.reached]
    return kept.z


class _Greedy:
    """The local search of every sample: which components are up, and what is known about the blocks in hand.

    A level is a division into blocks; all levels' blocks are numbered together. In hand are up to 64 blocks, each with
    the gain that its flip promised when it was last asked about (inf: never, -inf: not eligible).
    """

    def __init__(self, x: Tensor, draws: Draws, side: int) -> None:
        count, size = len(x), x[0].numel() if len(x) else 0
        maps: list[Tensor] = []
        orders: list[Tensor] = []
        self.starts = [0]
        while True:
            cells = _blocks(x.shape[1:], side).to(x.device)
            blocks = int(cells.max()) + 1
            keys = draws.uniform((blocks,), "order", len(maps))
            maps.append(cells + self.starts[-1])
            orders.append(keys.argsort(dim=1, stable=True) + self.starts[-1])
            self.starts.append(self.starts[-1] + blocks)
            if side == 1:
                break
            side = ceil(side / 2)
        self.maps, self.order = torch.stack(maps), torch.cat(orders, 1)  # (levels, D), (B, all blocks)
        # Any component of a block tells whether it is up.
        self.member = torch.zeros(self.starts[-1], dtype=torch.int64, device=x.device)
        self.member[self.maps.flatten()] = torch.arange(self.maps.shape[1], device=x.device).repeat(len(maps))
        self.bounds = torch.tensor(self.starts, device=x.device)
        self.up = torch.zeros(count, size, dtype=torch.bool, device=x.device)
        self.loss = torch.full((count,), inf, dtype=x.dtype, device=x.device)
        self.level, self.at = (torch.zeros(count, dtype=torch.int64, device=x.device) for _ in range(2))
        self.lowering = torch.zeros(count, dtype=torch.bool, device=x.device)
        self.hand = torch.zeros(count, _AT_A_TIME, dtype=torch.int64, device=x.device)
        self.gain = torch.full((count, _AT_A_TIME), -inf, dtype=x.dtype, device=x.device)
        self.fresh = torch.zeros(count, _AT_A_TIME, dtype=torch.bool, device=x.device)
        self.asked = torch.zeros(count, dtype=torch.int64, device=x.device)
        self._take(torch.arange(count, device=x.device))

    def propose(self, rows: Tensor) -> Tensor:
        """The components that are up (A, D) in the next query of each row, after what is already known was done."""
        top = self.gain[rows].argmax(1)
        self._flip(rows[self.fresh[rows, top] & (self.gain[rows, top] > 0)])
        for _ in range(4):  # raising or lowering may find nothing to do, but not both
            finished = rows[self.gain[rows].amax(1) <= 0]
            self._turn(finished)
        self.asked[rows] = self.gain[rows].argmax(1)
        return self.up[rows] ^ self._components(rows, self.hand[rows, self.asked[rows]])

    def learn(self, rows: Tensor, loss: Tensor, *, start: bool) -> None:
        """The loss (A,) of what was proposed, or of the start."""
        if start:
            self.loss[rows] = loss
            return
        gain = (self.loss[rows] - loss).nan_to_num(nan=-inf)
        self.gain[rows, self.asked[rows]] = gain
        self.fresh[rows, self.asked[rows]] = True

    def _flip(self, rows: Tensor) -> None:
        """The best block in hand changes sides; what is known about the others is from now on a bound."""
        top = self.gain[rows].argmax(1)
        self.up[rows] ^= self._components(rows, self.hand[rows, top])
        self.loss[rows] -= self.gain[rows, top]
        self.gain[rows, top] = -inf
        self.fresh[rows] = False

    def _turn(self, rows: Tensor) -> None:
        """From raising to lowering the blocks in hand; from there to the next ones, and to the next level."""
        done = self.lowering[rows]
        self.lowering[rows] = ~done
        self.at[rows] += done * _AT_A_TIME
        level = self.level[rows]
        through = self.at[rows] >= self.bounds[level + 1] - self.bounds[level]
        self.at[rows] *= ~through
        self.level[rows] = (level + through.long()).clamp_max(len(self.maps) - 1)
        self._take(rows)

    def _take(self, rows: Tensor) -> None:
        """Take the blocks in hand: those that stand at the side that is to be left."""
        place = (self.bounds[self.level[rows]] + self.at[rows])[:, None] + torch.arange(_AT_A_TIME, device=rows.device)
        exists = place < self.bounds[self.level[rows] + 1][:, None]
        hand = self.order[rows[:, None], place.clamp_max(self.order.shape[1] - 1)]
        eligible = exists & (self.up[rows[:, None], self.member[hand]] == self.lowering[rows, None])
        self.hand[rows], self.fresh[rows] = hand, False
        self.gain[rows] = torch.where(eligible, inf, -inf).to(self.gain)

    def _components(self, rows: Tensor, block: Tensor) -> Tensor:
        return self.maps[self.level[rows]] == block[:, None]


def _blocks(shape: torch.Size, side: int) -> Tensor:
    """(C * H * W,) int64: the number of the block, of one channel and side x side pixels, that a component is in."""
    channels, height, width = shape
    down, across = (torch.arange(length) // side for length in (height, width))
    numbers = down[:, None] * ceil(width / side) + across
    return (torch.arange(channels)[:, None, None] * (int(numbers.max()) + 1) + numbers).flatten()
