"""Sparse-RS for patches: the place and the colours of a square. Croce et al. 2022, arXiv:2006.12834."""

from __future__ import annotations

from math import isqrt, sqrt

import torch
from torch import Tensor, nn

from advbench.attacks.score.random_search import enough_queries, look_at, random_search
from advbench.attacks.score.sparse_rs import falling_share
from advbench.core.draws import Draws
from advbench.core.draws_ahead import below, heads, words_ahead
from advbench.core.gradients import attending, frozen
from advbench.core.keep import keep_better, keep_strongest
from advbench.core.losses import cross_entropy, margin_loss
from advbench.core.objectives import misclassify
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_STEPS_PER_MOVE = 5  # four changes of colours, then one of the place


@attack(norms=(0,), access="scores", paper="arXiv:2006.12834", nested=True, structured=True, cost=(5000, 0))
def patch_rs(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    alpha_init: float = 0.4,
) -> Tensor:
    """x_adv: x under an opaque square of side floor(sqrt(eps / C)), whose place and colours lower the loss.

    The patch starts anywhere with vertical stripes of colours in {low, high}. Four steps change a smaller square inside
    of it to one such colour, the fifth shifts the patch (section 5 of the paper, one patch for each image); a colour
    that is there already is turned to the opposite one. alpha_init: share of the patch, and of the image's sides, that
    the first steps change; it falls over `queries`, the most forward passes of one sample, that of x included. The loss
    is the margin, or the cross entropy to the target. eps counts components: with less than C x itself comes back.
    Raises ConfigError if threat.eps is None, queries < 2 or alpha_init is not in (0, 1].
    """
    enough_queries(queries, 2, "one for x and one for the start")
    if not 0.0 < alpha_init <= 1.0:
        raise ConfigError(f"alpha_init must be in (0, 1], got {alpha_init}")
    side = min(isqrt(int(threat.radius) // x.shape[1]), *x.shape[2:])
    loss = cross_entropy if targeted else margin_loss
    with frozen(model):
        kept = look_at(x, misclassify(model, y, targeted=targeted, loss=loss))
        left = (~kept.reached).nonzero()[:, 0]
        if side == 0 or not len(left):
            return kept.z
        patch = _Patch(x[left], threat, draws.rows(left), side)
        with attending(left):
            found = random_search(
                patch.start(),
                misclassify(model, y[left], targeted=targeted, loss=loss),
                propose=lambda best, rows, step: patch.propose(rows, step, falling_share(alpha_init, step, queries)),
                learn=patch.learn,
                steps=queries - 2,
            )
    return keep_better(kept, found.z, Evaluation(found.loss, found.reached), left, keep_strongest).z


class _Patch:
    """Every sample's patch: its upper left corner (B, 2), and which of its channels are high (B, C, side, side)."""

    def __init__(self, x: Tensor, threat: ThreatModel, draws: Draws, side: int) -> None:
        self.x, self.threat, self.side = x, threat, side
        channels, height, width = x.shape[1:]
        self.room = torch.tensor([height - side, width - side], device=x.device)
        first = draws.words(2, "first place")
        self.corner = torch.stack([below(int(room) + 1, first[:, i]) for i, room in enumerate(self.room.tolist())], 1)
        stripes = draws.signs((channels, 1, side), "stripes") > 0
        self.up = stripes.expand(-1, -1, side, -1).clone()
        self.words = words_ahead(draws, 2 + channels, "steps")
        self.tried = (self.corner, self.up)

    def start(self) -> Tensor:
        return self._pasted(torch.arange(len(self.x), device=self.x.device), self.corner, self.up)

    def propose(self, rows: Tensor, step: int, share: float) -> Tensor:
        change = self._shifted if step % _STEPS_PER_MOVE == _STEPS_PER_MOVE - 1 else self._repainted
        self.tried = change(self.words(rows, step), self.corner[rows], self.up[rows], share)
        return self._pasted(rows, *self.tried)

    def learn(self, kept: Tensor, rows: Tensor) -> None:
        corner, up = self.tried
        # All rows are written, not those that `kept` picks out: a mask makes a GPU wait for its queue.
        self.corner[rows] = torch.where(kept[:, None], corner, self.corner[rows])
        self.up[rows] = torch.where(kept[:, None, None, None], up, self.up[rows])

    def _shifted(self, words: Tensor, corner: Tensor, up: Tensor, share: float) -> tuple[Tensor, Tensor]:
        reach = max(1, round(share * max(self.x.shape[2:])))
        moved = corner + below(2 * reach + 1, words[:, :2]) - reach
        return torch.minimum(moved.clamp_min(0), self.room), up

    def _repainted(self, words: Tensor, corner: Tensor, up: Tensor, share: float) -> tuple[Tensor, Tensor]:
        size = max(1, round(sqrt(share) * self.side))
        first = below(self.side - size + 1, words[:, :2])[..., None]  # (A, 2, 1)
        reach = torch.arange(self.side, device=words.device)
        covered = (reach >= first) & (reach < first + size)  # (A, 2, side)
        inside = (covered[:, 0, :, None] & covered[:, 1, None])[:, None]
        colour = heads(words[:, 2:])[..., None, None]
        painted = torch.where(inside, colour, up)
        same = (painted == up).flatten(1).all(1)[:, None, None, None]
        return corner, torch.where(inside & same, ~colour, painted)

    def _pasted(self, rows: Tensor, corner: Tensor, up: Tensor) -> Tensor:
        down, across = (
            torch.arange(length, device=rows.device) - corner[:, i : i + 1] for i, length in enumerate(self.x.shape[2:])
        )  # (A, H), (A, W): a pixel's place in the patch
        inside = ((down >= 0) & (down < self.side))[:, :, None] & ((across >= 0) & (across < self.side))[:, None]
        place = down.clamp(0, self.side - 1)[:, :, None] * self.side + across.clamp(0, self.side - 1)[:, None]
        index = place.flatten(1)[:, None].expand(-1, up.shape[1], -1)
        high = up.flatten(2).gather(2, index).reshape(-1, *self.x.shape[1:])
        colours = torch.where(high, self.threat.high, self.threat.low).to(self.x)
        return torch.where(inside[:, None], colours, self.x[rows])
