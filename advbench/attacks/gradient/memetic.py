"""Descent and recombination: a genetic search whose members are local minima of the loss.

The crossover is in the manner of GenAttack (Alzantot et al. 2019, arXiv:1805.11090), which works without gradients.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.attacks.gradient.runners_up_loop import leave_towards
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen, logits_at
from advbench.core.keep import Kept, best_of_copies, keep_better, keep_strongest, nothing_kept
from advbench.core.losses import Loss, runners_up
from advbench.core.projections import within
from advbench.core.restarts import in_turns
from advbench.core.sampling import random_start
from advbench.core.step_rules import cosine, momentum
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_FIELD = 5  # values along a side of the random field that cuts an image in two
_SCOUTS = 3  # descents towards each class before one is chosen: the best of one descent may be the wrong class

# First steps of a descent in units of eps: a random point may go anywhere, a child stays near its parents.
_FAR, _NEAR = 0.5, 0.2


class _Settings(NamedTuple):
    """The arguments of `memetic` that say how a population lives."""

    population: int
    generations: int
    steps: int
    child_steps: int
    mutation: float
    settled: float


@attack(norms=(2, inf), access="gradient", paper="arXiv:1805.11090", nested=True, ratio=1.02, cost=(23000, 23000))
def memetic(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    population: int = 16,
    generations: int = 40,
    steps: int = 120,
    child_steps: int = 30,
    target_classes: int = 9,
    mutation: float = 0.02,
    settled: float = 0.05,
    restarts: int = 1,
) -> Tensor:
    """x_adv: any error counts; without one, the point with the largest difference of logits towards one other class.

    For samples that survive every restart of a gradient attack although their margin gets small: the loss then has many
    local minima, each right in some parts of the image and wrong in others. Three descents of steps / 2 steps to each
    of the `target_classes` likeliest other classes choose the class; `population` descents of `steps` steps from
    random points make the members. In each generation each member and a mate, the better of two at random, have a
    child: a smooth random field says which parts come from whom, a share `mutation` of the components comes from a
    random point of the ball, and `child_steps` steps of descent follow. It takes its parent's place if it is better.
    Steps shorten along half a cosine, with momentum 0.75. A population ends early once all have come to one place: when
    its mean loss is within the share `settled` of its best (0: only when all are equal). restarts: populations for a
    sample that survives.
    The defaults are first guesses that worked; no paper has them.
    Raises ConfigError if threat.eps is None, population < 2, a count is < 1, mutation is not in [0, 1], or settled < 0.
    """
    if population < 2:
        raise ConfigError(f"population must be at least 2, got {population}")
    if not 0.0 <= mutation <= 1.0:
        raise ConfigError(f"mutation must be in [0, 1], got {mutation}")
    life = _Settings(
        population,
        at_least_one("generations", generations),
        at_least_one("steps", steps),
        at_least_one("child_steps", child_steps),
        mutation,
        at_least_zero("settled", settled),
    )
    threat.radius  # noqa: B018
    with frozen(model):
        rows = torch.arange(len(x), device=x.device)
        logits = logits_at(model, x, rows)
        clean = Evaluation(torch.full_like(logits[:, 0], inf), logits.argmax(1) != y)
        kept = keep_better(nothing_kept(x), x, clean, rows, keep_strongest)
        others = runners_up(logits, y, at_least_one("target_classes", target_classes))  # (B, M)

        def turn_of(left: Tensor, turn: int) -> Kept:
            mine = draws.rows(left).branch(f"population {turn}")
            return _one_population(_Habitat(model, threat, mine), x[left], y[left], others[left], life)

        # With a single class there is nowhere to go.
        return in_turns(kept, at_least_one("restarts", restarts) * min(1, others.shape[1]), turn_of).z


class _Habitat(NamedTuple):
    """What all members of a population share; the draws are those of the samples."""

    model: nn.Module
    threat: ThreatModel
    draws: Draws


class _Crowd(NamedTuple):
    """Several members for each sample (A * P, ...): clean image, label, class to go to, the sample, own draws."""

    x: Tensor
    y: Tensor
    target: Tensor
    sample: Tensor
    draws: Draws

    def part(self, members: Tensor) -> _Crowd:
        """Those at the positions `members`."""
        x, y, target, sample = (each[members] for each in (self.x, self.y, self.target, self.sample))
        return _Crowd(x, y, target, sample, self.draws.rows(members))


def _one_population(home: _Habitat, x: Tensor, y: Tensor, others: Tensor, life: _Settings) -> Kept:
    """The best point of each sample (A, ...): scouts choose the class, then members live for some generations."""
    others = others.repeat(1, _SCOUTS)
    scouts = _crowd(x, y, others, home.draws.branch("scouts"))
    seen = _descended(home, scouts, _start(home, scouts), first=_FAR, steps=max(life.steps // 2, 1))
    best, which = best_of_copies(seen, others.shape[1])
    left = (~best.reached).nonzero()[:, 0]
    if not len(left):
        return best
    target = others.gather(1, which[:, None])[left].expand(-1, life.population)
    crowd = _crowd(x[left], y[left], target, home.draws.rows(left).branch("members"))
    with attending(left):
        members = _descended(home, crowd, _start(home, crowd), first=_FAR, steps=life.steps)
        for generation in range(life.generations):
            at = _at_work(members, life).repeat_interleave(life.population).nonzero()[:, 0]
            if not len(at):
                break
            parents, mine = Kept(*(part[at] for part in members)), crowd.part(at)
            children = _children(home, mine, parents, life, generation)
            grown = _descended(home, mine, children, first=_NEAR, steps=life.child_steps)
            members = keep_better(members, grown.z, Evaluation(grown.loss, grown.reached), at, keep_strongest)
    found, _ = best_of_copies(members, life.population)
    return keep_better(best, found.z, Evaluation(found.loss, found.reached), left, keep_strongest)


def _at_work(members: Kept, life: _Settings) -> Tensor:
    """(A,) bool: is no member of this population there, and are they still apart?"""
    reached, loss = (part.reshape(-1, life.population) for part in (members.reached, members.loss))
    best = loss.amin(1)  # positive where nobody is there
    return ~reached.any(1) & ~(loss.mean(1) - best <= life.settled * best)


def _crowd(x: Tensor, y: Tensor, target: Tensor, draws: Draws) -> _Crowd:
    """One member for each entry of target (A, P)."""
    count = target.shape[1]
    sample = torch.arange(len(x), device=x.device).repeat_interleave(count)
    number = torch.arange(count, device=x.device).repeat(len(x))
    # Numbers of their own: within this branch no two members have the same id.
    own = Draws(draws.seed, draws.sample_ids[sample] * count + number)
    return _Crowd(x[sample], y[sample], target.flatten(), sample, own)


def _start(home: _Habitat, crowd: _Crowd, counter: int = 0) -> Tensor:
    return random_start(crowd.x, home.threat, crowd.draws, counter)


def _descended(home: _Habitat, crowd: _Crowd, z: Tensor, *, first: float, steps: int) -> Kept:
    """The lowest point of a descent from each z (A * P, ...), or the first that fools."""
    rule = momentum(home.threat.norm, first * home.threat.radius, decay=0.75, schedule=cosine(1.0, 0.01))
    goal = leave_towards(home.model, crowd.y, crowd.target, _difference)
    with attending(crowd.sample):
        return descend(z, goal, step=rule, steps=steps, project=within(home.threat, crowd.x), keep=keep_strongest)


def _children(home: _Habitat, crowd: _Crowd, parents: Kept, life: _Settings, generation: int) -> Tensor:
    """A child (A * P, ...) of each member and the better of two of its sample, the image cut along a random field."""
    z, count = parents.z, life.population
    two = crowd.draws.integers(count, (2,), "mate", generation).to(z.device)
    two = two + (torch.arange(len(z), device=z.device) // count * count)[:, None]  # (A * P, 2) positions
    mate = two.gather(1, parents.loss[two].argmin(1, keepdim=True))[:, 0]
    field = crowd.draws.normal((1, _FIELD, _FIELD), "field", generation).to(z)
    own = functional.interpolate(field, size=z.shape[2:], mode="bicubic", align_corners=False) > 0
    child = torch.where(own, z, z[mate])
    changed = crowd.draws.uniform(tuple(z.shape[1:]), "changed", generation).to(z.device) < life.mutation
    child = torch.where(changed, _start(home, crowd, generation + 1), child)
    return within(home.threat, crowd.x)(child, torch.arange(len(z), device=z.device))


def _difference(target: Tensor) -> Loss:
    return lambda logits, y: (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None]))[:, 0]
