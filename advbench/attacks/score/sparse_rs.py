"""Sparse-RS: random search over which components to change. Croce et al. 2022, arXiv:2006.12834."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from advbench.attacks.score.random_search import enough_queries, look_at, random_search
from advbench.core.draws import Draws
from advbench.core.draws_ahead import Ahead, heads, one_of_each_part, words_ahead
from advbench.core.gradients import attending, frozen
from advbench.core.keep import keep_better, keep_strongest
from advbench.core.losses import cross_entropy, margin_loss
from advbench.core.objectives import misclassify
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

# Queries, of 10,000, after which the share of the set that a step exchanges is divided by the number beside: section 3.
_DIVISORS = {0: 2, 50: 4, 200: 5, 500: 6, 1000: 8, 2000: 10, 4000: 12, 6000: 15, 8000: 20}


@attack(norms=(0,), access="scores", paper="arXiv:2006.12834", nested=True, cost=(5000, 0))
def sparse_rs(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    alpha_init: float = 0.3,
    unit: Literal["component", "pixel"] = "component",
) -> Tensor:
    """x_adv: x with a set of components at an end of the box; the set is improved by exchanges that lower the loss.

    unit: "component", each of the floor(eps) changed components is chosen by itself (the paper's feature space);
    "pixel", floor(eps / C) whole pixels with colours of {low, high}, since eps counts components here and pixels there.
    A step gives up some members of the set and takes as many others (algorithm 1); each goes to a random end, to the
    other one where it is there already. alpha_init: share of the set that the first step exchanges; it falls
    over `queries`, the most forward passes of one sample, that of x included, as over the paper's 10,000. The loss is
    the margin, or the cross entropy to the target.
    Raises ConfigError if threat.eps is None, queries < 2, alpha_init is not in (0, 1], or `unit` is another word.
    """
    enough_queries(queries, 2, "one for x and one for the start")
    if not 0.0 < alpha_init <= 1.0:
        raise ConfigError(f"alpha_init must be in (0, 1], got {alpha_init}")
    if unit not in ("component", "pixel"):
        raise ConfigError(f"sparse_rs: unit must be component or pixel, got {unit!r}")
    depth = x.shape[1] if unit == "pixel" else 1
    size = min(int(threat.radius) // depth, prod(x.shape[1:]) // depth)
    loss = cross_entropy if targeted else margin_loss
    with frozen(model):
        kept = look_at(x, misclassify(model, y, targeted=targeted, loss=loss))
        left = (~kept.reached).nonzero()[:, 0]
        if size == 0 or not len(left):
            return kept.z
        exchange = _Exchange(
            x[left], threat, draws.rows(left), depth=depth, size=size, alpha_init=alpha_init, queries=queries
        )
        with attending(left):
            found = random_search(
                exchange.start(),
                misclassify(model, y[left], targeted=targeted, loss=loss),
                propose=exchange.propose,
                learn=exchange.learn,
                steps=queries - 2,
            )
    return keep_better(kept, found.z, Evaluation(found.loss, found.reached), left, keep_strongest).z


def falling_share(alpha_init: float, step: int, queries: int) -> float:
    """How much of the set the candidate of `step` exchanges: the paper's fall over 10,000 queries within `queries`."""
    now = (step + 1) * 10_000 / queries
    return alpha_init / max([1, *(divisor for after, divisor in _DIVISORS.items() if now > after)])


class _Exchange:
    """Each sample's places in a list whose first `size` entries are the set, and how they are exchanged.

    A place is a component, or a pixel with its `depth` channels: images are seen as (A, places, depth).
    """

    def __init__(
        self,
        x: Tensor,
        threat: ThreatModel,
        draws: Draws,
        *,
        depth: int,
        size: int,
        alpha_init: float,
        queries: int,
    ) -> None:
        self.x, self.depth, self.size, self.threat = x, depth, size, threat
        self.alpha_init, self.queries = alpha_init, queries
        count = prod(x.shape[1:]) // depth
        self.order = draws.uniform((count,), "order").argsort(dim=1, stable=True)  # (B, places)
        self.first = draws.words(size * depth, "first ends").reshape(len(x), size, depth)
        self.draws = draws
        self.words: Ahead = words_ahead(draws, 1, "none")
        self.width = -1
        self.given = self.taken = self.order[:, :0]

    def start(self) -> Tensor:
        every = torch.arange(len(self.x), device=self.x.device)
        flat = self._places(self.x)
        return self._image(self._at_ends(flat, every, self.order[:, : self.size], self.first))

    def propose(self, best: Tensor, rows: Tensor, step: int) -> Tensor:
        rest = self.order.shape[1] - self.size
        width = max(1, min(int(falling_share(self.alpha_init, step, self.queries) * self.size), rest))
        if width != self.width:
            self.width, self.words = width, words_ahead(self.draws, width * (2 + self.depth), f"exchange {width}")
        drawn = self.words(rows, step)
        # One entry from each of `width` equal parts of either list: none twice, and each as likely as its neighbours.
        self.given = one_of_each_part(self.size, width, drawn[:, :width])
        others = one_of_each_part(max(rest, width), width, drawn[:, width : 2 * width])
        self.taken = self.size + others if rest else self.given  # a set of all places can only change its ends
        order = self.order[rows]
        flat, clean = self._places(best), self._places(self.x)[rows]
        given = order.gather(1, self.given)[..., None].expand(-1, -1, self.depth)
        flat = flat.scatter(1, given, clean.gather(1, given))
        ends = drawn[:, 2 * width :].reshape(len(rows), width, self.depth)
        return self._image(self._at_ends(flat, rows, order.gather(1, self.taken), ends))

    def learn(self, kept: Tensor, rows: Tensor) -> None:
        # All rows are written, not those that `kept` picks out: a mask makes a GPU wait for its queue.
        rows, kept = rows[:, None], kept[:, None]
        given, taken = self.order[rows, self.given], self.order[rows, self.taken]
        self.order[rows, self.given] = torch.where(kept, taken, given)
        self.order[rows, self.taken] = torch.where(kept, given, taken)

    def _at_ends(self, flat: Tensor, rows: Tensor, places: Tensor, words: Tensor) -> Tensor:
        """flat (A, N, depth) with `places` (A, w) at ends that the words (A, w, depth) choose, moved in any case."""
        index = places[..., None].expand(-1, -1, self.depth)
        clean = self._places(self.x)[rows].gather(1, index)
        up = heads(words)
        ends, others = (torch.where(way, self.threat.high, self.threat.low).to(clean) for way in (up, ~up))
        unmoved = (ends == clean).all(2, keepdim=True)
        return flat.scatter(1, index, torch.where(unmoved, others, ends))

    def _places(self, z: Tensor) -> Tensor:
        return z.flatten(1)[..., None] if self.depth == 1 else z.flatten(2).transpose(1, 2)

    def _image(self, flat: Tensor) -> Tensor:
        shape = self.x.shape[1:]
        return flat.reshape(-1, *shape) if self.depth == 1 else flat.transpose(1, 2).reshape(-1, *shape)
