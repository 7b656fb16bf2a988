"""Many small questions around a point at once: what the normal of a decision boundary is estimated from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.attacks.decision.inquiry import Inquiry
from advbench.core.draws import Draws
from advbench.core.norms import lengths, per_sample

# who (M,): positions among the rows at work, counter (M,): number of the probe -> directions and images (M, ...).
View = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_AT_ONCE = 64  # probes of a sample in one call: a constant, so that rounding in sums does not depend on the batch
_TURN = 1 << 20  # more probes than a sample makes in one turn


class Probes(NamedTuple):
    """The sum of the directions that reached the goal and of those that did not (A, ...), and the number of each (A,).

    All float64.
    """

    inside: Tensor
    outside: Tensor
    hits: Tensor
    misses: Tensor

    def normal(self) -> Tensor:
        """Direction (A, ...) into the goal's region: the directions times their decisions (1, -1) less their mean."""
        hits, misses = per_sample(self.hits, self.inside), per_sample(self.misses, self.inside)
        centred = misses * self.inside - hits * self.outside
        return torch.where(torch.as_tensor((hits == 0) | (misses == 0)), self.inside - self.outside, centred)


def probe(inquiry: Inquiry, rows: Tensor, count: Tensor, turn: int, view: View) -> Probes:
    """Ask for count (A,) images around each of the rows (A,), or what is left; view makes them. turn: of the draws."""
    like = inquiry.x[rows].double()
    sums = Probes(torch.zeros_like(like), torch.zeros_like(like), like.new_zeros(len(rows)), like.new_zeros(len(rows)))
    count = torch.minimum(count, inquiry.left(rows))
    most = int(count.max()) if len(rows) else 0
    for first in range(0, most, _AT_ONCE):
        number = torch.arange(first, min(first + _AT_ONCE, most), device=rows.device)
        who = torch.arange(len(rows), device=rows.device).repeat_interleave(len(number))
        u, z = view(who, (turn * _TURN + number).repeat(len(rows)))
        wanted = number.repeat(len(rows)) < count[who]
        hit = torch.zeros_like(wanted)
        hit[wanted] = inquiry.ask(z[wanted], rows[who[wanted]])
        inside, outside = _sum(u, hit, len(rows)), _sum(u, wanted & ~hit, len(rows))
        sums = Probes(
            sums.inside + inside[0], sums.outside + outside[0], sums.hits + inside[1], sums.misses + outside[1]
        )
    return sums


def _sum(u: Tensor, chosen: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sum (count, ...) of the chosen u (count * n, ...) of each sample, and how many they are (count,)."""
    total = (u * per_sample(chosen.to(u), u)).reshape(count, -1, *u.shape[1:]).sum(1)
    return total, chosen.reshape(count, -1).sum(1)


def unit(u: Tensor) -> Tensor:
    """u (A, ...) with Euclidean length 1; 0 stays 0."""
    return u / torch.as_tensor(per_sample(lengths(u, 2.0).clamp_min(torch.finfo(u.dtype).tiny), u))


def random_unit(draws: Draws, like: Tensor, purpose: str, counter: int | Tensor) -> Tensor:
    """Directions like `like` (A, ...), uniform on the Euclidean sphere."""
    return unit(draws.normal(tuple(like.shape[1:]), purpose, counter).to(like))
