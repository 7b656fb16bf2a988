"""Noise that is taken for something, with certainty, by evolution. Nguyen et al. 2015, arXiv:1412.1897."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.physical.confidence import confident, noise_in_box
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen, labels_at
from advbench.core.keep import Kept
from advbench.core.projections import within
from advbench.core.search import search
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

_ETA = 15.0  # of the polynomial mutation: Deb 2001, and the paper's section 2
_HALVED_EVERY = 1000  # generations: the paper's section 2


@attack(norms=(0,), access="scores", paper="arXiv:1412.1897", unbounded=True, structured=True, cost=(2002, 0))
def evolved_noise(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    confidence: float = 0.99,
    generations: int = 2000,
    rate: float = 0.1,
) -> Tensor:
    """x_adv: noise, not x, that the model takes for y (`targeted`) or anything but y with at least `confidence`.

    The paper's direct encoding: a sample starts at uniform noise of its own; a child differs from its parent in a share
    `rate` of the components, halved every 1000 generations, by polynomial mutation, and takes its place if its
    probability is higher. Each sample has one champion, that of its own goal; the paper keeps one for every
    class and lets children win any of these places, which would tie the samples of a batch together.
    A sample that meets its goal at x is returned as it is, the others are the likeliest that was bred.
    The norm is l0, changed components: without a radius x plays no further part, with one all but eps components
    are those of x.
    Raises ConfigError if confidence is not in [0, 1), generations < 1 or rate is not in (0, 1].
    """
    objective = confident(model, y, targeted=targeted, confidence=confidence)
    if not 0 < rate <= 1:
        raise ConfigError(f"rate must be in (0, 1], got {rate}")
    rows, width = torch.arange(len(x), device=x.device), threat.high - threat.low
    project = within(threat, x)
    with frozen(model):
        left = rows[(labels_at(model, x, rows) == y) != targeted]
        mine = draws.rows(left)

        def breed(kept: Kept, place: Tensor, i: int) -> Tensor:
            share = rate * 0.5 ** (i // _HALVED_EVERY)
            u = mine.rows(place).uniform((2, *x.shape[1:]), "mutation", i).to(x)
            change = torch.where(u[:, 0] < share, _polynomial(u[:, 1]), 0.0)
            return project(kept.z + width * change, left[place])

        start = noise_in_box(x, mine.uniform(tuple(x.shape[1:]), "noise"), threat.low, threat.high)
        with attending(left):
            found = search(
                project(start, left),
                lambda z, place: objective(z, left[place]),
                propose=breed,
                steps=at_least_one("generations", generations),
            )
    return x.index_copy(0, left, found.z)


def _polynomial(u: Tensor) -> Tensor:
    """Polynomial mutation in [-1, 1] from u in [0, 1): most are small, a few go across the box."""
    power = 1.0 / (_ETA + 1.0)
    return torch.where(u < 0.5, (2.0 * u).pow(power) - 1.0, 1.0 - (2.0 - 2.0 * u).pow(power))
