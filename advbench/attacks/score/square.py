"""Square attack: random squares, kept if the loss falls. Andriushchenko et al. 2020, arXiv:1912.00049."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, sqrt

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.score.mass_moves import moved_mass, tiled_bumps, tiles
from advbench.attacks.score.random_search import Propose, enough_queries, look_at, random_search
from advbench.core.draws import Draws
from advbench.core.draws_ahead import below, heads, words_ahead
from advbench.core.gradients import attending, frozen
from advbench.core.keep import keep_better, keep_strongest
from advbench.core.losses import cross_entropy, margin_loss
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

# Queries, of 10,000, after which the share of the image that a square covers is halved: section 3.1 of the paper.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)

# What a perturbation is stretched by before it is projected. In l1 that cuts the small components away: 52 instead of
# 14 of 78 MNIST digits fall within 500 queries at eps = 12 with 1.5, as many or more with 2.
_SWELL = {1.0: 2.0, 2.0: 1.0}

Share = Callable[[int], float]  # number of the candidate -> share of the image that its square covers


@attack(
    norms=(1, 2, inf), access="scores", paper="arXiv:1912.00049", nested=True, cost=(5000, 0), revision={1: 2, 2: 2}
)
def square(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    p_init: float = 0.8,
    rescale_schedule: bool = False,
    restarts: int = 1,
) -> Tensor:
    """x_adv: the best point found by changes of random squares, each kept if the loss falls or the goal is met.

    linf: a square goes to the upper or lower end of what is allowed, per channel (algorithm 2); one that is there
    already goes to the other end, so that no query is wasted. l2: mass moves from one window to another (algorithm 3);
    l1: the same, measured in l1 (arXiv:2103.01208), and made sparse by a projection from twice the radius. The loss is
    the margin, or the cross entropy to the target.
    queries: most forward passes of one sample in one restart, those of x and of the start included. p_init: share of
    the image that the first squares cover; it is halved at fixed queries out of 10,000, or with rescale_schedule at the
    same shares of `queries`. The defaults are AutoAttack's (arXiv:2003.01690). restarts: for samples that survived.
    Raises ConfigError if threat.eps is None, queries < 2, restarts < 1, or p_init is not in (0, 1].
    """
    enough_queries(queries, 2, "one for x and one for the start")
    if not 0.0 < p_init <= 1.0:
        raise ConfigError(f"p_init must be in (0, 1], got {p_init}")
    family = _linf if threat.norm == inf else _mass
    share = partial(_share, p_init, 10_000 / queries if rescale_schedule else 1.0)
    goal = partial(misclassify, model, targeted=targeted, loss=cross_entropy if targeted else margin_loss)
    with frozen(model):
        kept = look_at(x, goal(y))
        for run in range(at_least_one("restarts", restarts)):
            left = (~kept.reached).nonzero()[:, 0]
            if not len(left):
                break
            start, propose = family(x[left], threat, draws.rows(left).branch(f"restart {run}"), share)
            with attending(left):
                found = random_search(start, goal(y[left]), propose=propose, steps=queries - 2)
            kept = keep_better(kept, found.z, Evaluation(found.loss, found.reached), left, keep_strongest)
    return kept.z


def _share(p_init: float, pace: float, step: int) -> float:
    """What the candidate of `step` covers, where time runs `pace` times as fast as in _HALVINGS."""
    return p_init * 0.5 ** sum(pace * (step + 1) > halving for halving in _HALVINGS)


def _linf(x: Tensor, threat: ThreatModel, draws: Draws, share: Share) -> tuple[Tensor, Propose]:
    """Vertical stripes as the start; squares that go to an end of the ball and box."""
    channels, height, width = x.shape[1:]
    floor, ceiling = (x - threat.radius).clamp_min(threat.low), (x + threat.radius).clamp_max(threat.high)
    words = words_ahead(draws, 2 + channels, "squares")
    down, across = torch.arange(height, device=x.device), torch.arange(width, device=x.device)

    def propose(best: Tensor, rows: Tensor, step: int) -> Tensor:
        side = min(max(1, round(sqrt(share(step) * height * width))), height, width)
        drawn = words(rows, step)
        top, left = below(height - side + 1, drawn[:, :1]), below(width - side + 1, drawn[:, 1:2])  # (A, 1)
        covered = ((down >= top) & (down < top + side))[:, None, :, None]
        covered = covered & ((across >= left) & (across < left + side))[:, None, None]  # (A, 1, H, W)
        up = heads(drawn[:, 2:])[..., None, None]  # (A, C, 1, 1)
        low, high = floor[rows], ceiling[rows]
        candidates = torch.where(covered, torch.where(up, high, low), best)
        same = (candidates == best).flatten(1).all(1)[:, None, None, None]
        return torch.where(covered & same, torch.where(up, low, high), candidates)

    stripes = draws.signs((channels, 1, width), "stripes") > 0
    return torch.where(stripes, ceiling, floor), propose


def _mass(x: Tensor, threat: ThreatModel, draws: Draws, share: Share) -> tuple[Tensor, Propose]:
    """Tiles of bumps as the start; windows that take over the mass of others."""
    channels, height, width = x.shape[1:]
    eps, p = threat.radius, threat.norm
    words = words_ahead(draws, 5 + channels, "windows")
    start = tiled_bumps(x, draws.words((channels + 1) * tiles(height, width), "tiles"), p)
    start = _SWELL[p] * eps * start / per_sample(lengths(start, p), start)
    project = within(threat, x)

    def propose(best: Tensor, rows: Tensor, step: int) -> Tensor:
        side = max(3, round(sqrt(share(step) * height * width)))
        side = min(side + (side + 1) % 2, height, width)  # odd, so that the bump has a middle
        centre = x[rows]
        delta = moved_mass(best - centre, words(rows, step), side, eps, p)
        return project(centre + _SWELL[p] * delta, rows)

    return project(x + start, torch.arange(len(x), device=x.device)), propose
