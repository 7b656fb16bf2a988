"""Questions to a victim that answers with labels only: counted per sample, capped, the nearest example remembered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.core.gradients import labels_at
from advbench.core.keep import keep_better, keep_nearest, near_enough, nearest_found, nothing_kept
from advbench.core.norms import lengths, per_sample
from advbench.types import Evaluation, ThreatModel

_HAIR = 1e-5  # of the distance


class Inquiry:
    """What an attack on x (B, ...) has asked so far, at most `queries` labels per sample, and the nearest it saw.

    spent: labels asked of each sample (B,) int64. kept: the nearest example of each, x itself until there is one.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, targeted: bool, queries: int
    ) -> None:
        self.model, self.x, self.y, self.threat, self.targeted = model, x, y, threat, targeted
        self.queries = at_least_one("queries", queries)
        self.spent = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self.kept = nothing_kept(x)
        self._reserve = min(1, self.queries - 1)  # for the last look of `answer`
        self._nearer = keep_nearest(x, threat.norm)

    def ask(self, z: Tensor, rows: Tensor) -> Tensor:
        """Has each z (A, ...) reached the goal of its row (A,)? Where a row has no query left it counts as no, unasked.

        A row may come several times in one call, at most as often as it has queries left.
        """
        affordable = self.left(rows) > 0
        if not bool(affordable.all()):
            hit = torch.zeros_like(affordable)
            if bool(affordable.any()):
                hit[affordable] = self.ask(z[affordable], rows[affordable])
            return hit
        if not len(rows):
            return affordable
        self.spent.index_add_(0, rows, torch.ones_like(rows))
        return (labels_at(self.model, z, rows) == self.y[rows]) == self.targeted

    def look(self, z: Tensor, rows: Tensor) -> Tensor:
        """As `ask`, for rows that come once each; an example nearer than the kept one takes its place."""
        hit = self.ask(z, rows)
        evaluation = Evaluation(torch.zeros_like(hit, dtype=z.dtype), hit)
        self.kept = keep_better(self.kept, z, evaluation, rows, self._nearer)
        return hit

    def left(self, rows: Tensor) -> Tensor:
        """How many labels may still be asked for each of the rows (A,)."""
        return self.queries - self._reserve - self.spent[rows]

    def at_work(self) -> Tensor:
        """Rows (A,) with an example that is not yet near enough, and with queries left."""
        done = near_enough(self.kept, self.x, self.threat) | (self.spent >= self.queries - self._reserve)
        return torch.nonzero(self.kept.reached & ~done)[:, 0]

    def answer(self) -> Tensor:
        """What the attack returns: each nearest example (B, ...), x where there is none.

        An example on the boundary itself may change its label with the rounding of another batch: the one a hair
        farther out takes its place where that is adversarial and in the ball too.
        """
        self._reserve = 0
        far = self.x + (1.0 + _HAIR) * (self.kept.z - self.x)
        far = far.clamp(self.threat.low, self.threat.high)
        distance = lengths(far - self.x, self.threat.norm)
        allowed = self.kept.reached & (distance > 0)
        if self.threat.eps is not None:
            allowed &= distance <= self.threat.eps
        rows = torch.nonzero(allowed)[:, 0]
        hit = self.ask(far[rows], rows)
        z = self.kept.z.index_copy(
            0, rows, torch.where(torch.as_tensor(per_sample(hit, far)), far[rows], self.kept.z[rows])
        )
        return nearest_found(self.kept._replace(z=z), self.x, self.threat)
