"""AutoAttack's four attacks, cheapest sufficient evidence first; samples beyond doubt are not attacked to the end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.attacks.ensemble.auto import standard
from advbench.attacks.ensemble.worst_case import Case, Part, attack_survivors, in_copies, look, warn_if_random
from advbench.attacks.gradient.apgd import apgd
from advbench.attacks.gradient.apgd_t import apgd_t
from advbench.attacks.gradient.memetic import memetic
from advbench.attacks.minimum_norm.fab_t import fab_t
from advbench.attacks.score.random_search import enough_queries
from advbench.attacks.score.square import square
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import Kept, keep_better, keep_strongest
from advbench.core.marks import mark
from advbench.core.norms import lengths
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_ABREAST = 3  # classes gone for at once: those who come so far are few, and the classes that are likely to fall first
_GENERATIONS = 25  # of a population: of 15 samples that fell to one of 40, 14 fell to these
_NEARLY, _ALL_BUT = 0.05, 0.01  # of the clean margin: what is left of a sample that nearly fell, or all but fell


class Evidence(NamedTuple):
    """What the short attacks left of each sample (B,).

    gradient: APGD, of the clean margin, as a share. first_walk, second_walk: the distances that FAB came to, in eps.
    """

    gradient: Tensor
    first_walk: Tensor
    second_walk: Tensor


class Doubt(NamedTuple):
    """Which long attacks may still fool a sample, (B,) bool each: those by gradient, by walks of FAB, by search."""

    gradient: Tensor
    walk: Tensor
    search: Tensor


@attack(
    norms=(1, 2, inf),
    access="gradient",
    paper="arXiv:2003.01690",
    nested=True,
    ratio=1.02,
    cost=(56600, 48800),
    revision={1: 2, 2: 2},
)
def cascade(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    doubt: float = 0.2,
    audit: float = 0.1,
    persistence: int = 5,
    populations: int = 3,
    steps: int = 100,
    queries: int = 5000,
) -> Tensor:
    """x_adv: the first misclassified point that one of the attacks finds, else the point of the lowest margin.

    First every sample meets short attacks: APGD (a fifth of `steps`), targeted APGD (three tenths, 3 classes), targeted
    FAB (a tenth and a fifth, 3 classes), Square (a tenth of `queries`). What they leave of the clean margin says which
    attacks of `auto` may still fool a survivor, and it meets these. FAB: where it came as near as 1.05 eps, its longer
    walk came nearer than the shorter by more than a quarter, or the random search got lower than the gradient by more
    than 0.15: gradients then say little. APGD: there, and where the gradient left less than `doubt` or the search less
    than 1.25 `doubt`. Square: where APGD may and the search is less than 0.3 behind the gradient. Who meets APGD and is
    left with less than a twentieth then meets `memetic`, and with less than a hundredth up to `populations` times, each
    with up to 31,500 passes for such a sample, whatever `steps` and `queries` are; in l1, or with populations=0, it is
    `persistence` more runs of targeted APGD and FAB from random starts (0: none). Survivors that were spared an attack
    of `auto` are marked "decided", but a random share `audit` of them (0 .. 1) meets all of these and is marked
    "audited": `metrics.audit` makes a bound on what the rule overlooked of it, which `advbench run` prints. Warns like
    `auto` of a model that is random.
    Raises ConfigError if threat.eps is None, audit is not in [0, 1], steps < 1, queries < 2, or another number is
    negative.
    """
    threat.radius, at_least_zero("doubt", doubt), at_least_zero("persistence", persistence)
    at_least_zero("populations", populations), at_least_one("steps", steps)
    enough_queries(queries, 2, "one for x and one for the start of square")
    if not 0.0 <= audit <= 1.0:
        raise ConfigError(f"audit must be in [0, 1], got {audit}")
    with frozen(model):
        case = Case(model, x, y, threat)
        kept = look(case)
        warn_if_random(case, kept, "cascade")
        clean, whole = kept.loss, standard(steps, queries, threat.norm, abreast=_ABREAST)
        kept, seen = _short_attacks(kept, case, draws, steps)
        walking = _still_walking(seen)  # gradients may mislead here, and then FAB is the cheapest
        walks = partial(fab_t, steps=steps)
        kept = attack_survivors(kept, walks, case, draws=draws.branch("fab_t"), among=walking)
        kept, search = _short_search(kept, case, draws, queries)
        may = _doubts(seen, search / clean, doubt)
        spared = ~kept.reached & ~(may.gradient & may.walk & may.search)
        audited = spared & (draws.uniform((), "audit") < audit)
        own = {"fab_t": may.walk, "apgd_ce": may.gradient, "square": may.search, "apgd_t": may.gradient}
        for name, mine in own.items():
            before, among = kept.reached, (mine | audited) & ~(walking & (name == "fab_t"))
            kept = attack_survivors(kept, whole[name], case, draws=draws.branch(name), among=among)
            audited = audited & ~(mine & kept.reached & ~before)  # it fell as it would have without the audit
        before, again = kept.reached, _again(threat.norm, steps, persistence, populations)
        kept = _insisted(kept, again, case, draws=draws, clean=clean, among=may.gradient)
        audited = audited & (before | ~kept.reached)
        mark("audited", audited.nonzero()[:, 0])
        mark("decided", (spared & ~audited & ~kept.reached).nonzero()[:, 0])
    return kept.z


def _again(norm: float, steps: int, persistence: int, populations: int) -> dict[str, tuple[float, Part]]:
    """For samples with at most this share of the clean margin left: populations, or likely classes from new starts."""
    if populations and norm != 1:
        part = partial(memetic, generations=_GENERATIONS)
        return {f"memetic {i}": (_ALL_BUT if i else _NEARLY, part) for i in range(populations)}
    parts = {
        "apgd_t again": partial(apgd_t, target_classes=3, steps=steps),
        "fab_t again": partial(fab_t, target_classes=3, steps=steps, random_start=True),
    }
    return {name: (_NEARLY, in_copies(part, persistence)) for name, part in parts.items() if persistence}


def _insisted(
    kept: Kept, parts: dict[str, tuple[float, Part]], case: Case, *, draws: Draws, clean: Tensor, among: Tensor
) -> Kept:
    """The record (B, ...) after parts that are only for those of `among` whose margin fell below a share of `clean`."""
    for name, (share, part) in parts.items():
        near = among & (kept.loss / clean < share)
        kept = attack_survivors(kept, part, case, draws=draws.branch(name), among=near)
    return kept


def _short_attacks(kept: Kept, case: Case, draws: Draws, steps: int) -> tuple[Kept, Evidence]:
    """The record (B, ...) after short attacks by gradient, and what they say about those that survive."""
    clean, walks = kept.loss, []
    unbounded = replace(case, threat=case.threat.at(None))
    short = {
        "short apgd_ce": partial(apgd, steps=max(steps // 5, 1)),
        "short apgd_t": partial(apgd_t, target_classes=3, steps=max(3 * steps // 10, 1)),
    }
    for name, part in short.items():
        kept = attack_survivors(kept, part, case, draws=draws.branch(name))
    gradient = kept.loss / clean
    for length in (steps // 10, steps // 5):
        part = partial(fab_t, target_classes=3, steps=max(length, 1))
        found = attack_survivors(_forgotten(kept), part, unbounded, draws=draws.branch("walk"))
        distance = lengths(found.z - case.x, case.threat.norm) / case.threat.radius
        walks.append(torch.where(found.reached, distance, inf))
        near = found.reached & (distance <= 1.0)
        kept = _better(kept, found._replace(reached=near, loss=torch.where(near, found.loss, inf)))
    return kept, Evidence(gradient, *walks)


def _short_search(kept: Kept, case: Case, draws: Draws, queries: int) -> tuple[Kept, Tensor]:
    """The record (B, ...) after a short random search, and the margin (B,) that the search alone came to."""
    part = partial(square, queries=max(queries // 10, 2))
    found = attack_survivors(_forgotten(kept), part, case, draws=draws.branch("short square"))
    return _better(kept, found), found.loss


def _still_walking(seen: Evidence) -> Tensor:
    """(B,) bool: would a longer walk come nearer, or is it nearly there?"""
    # A walk that finds nothing says no more than one that has not ended.
    on_the_way = ~(seen.second_walk >= 0.75 * seen.first_walk) | torch.isinf(seen.second_walk)
    return on_the_way | (seen.second_walk < 1.05)


def _doubts(seen: Evidence, search: Tensor, doubt: float) -> Doubt:
    """What may still fool each sample; search (B,): the share of the clean margin that the short search left.

    The limits were read off seven cases on four nets. Where gradients are sound, a short APGD left at most 0.02 more of
    the clean margin than a long one, a longer walk came nearer by at most 23 %, and a search of 500 queries that ended
    0.3 or more behind the gradient never fooled with 5,000. Where they are masked, walks came nearer by 42 % or more.
    """
    walk = _still_walking(seen) | (search < seen.gradient - 0.15)
    gradient = walk | (seen.gradient < doubt) | (search < 1.25 * doubt)
    return Doubt(gradient, walk, search=gradient & (search < seen.gradient + 0.3))


def _forgotten(kept: Kept) -> Kept:
    """The same record without the points of the samples that hold: what comes next is seen on its own."""
    return kept._replace(loss=torch.where(kept.reached, kept.loss, inf))


def _better(kept: Kept, found: Kept) -> Kept:
    """The better of two records (B, ...)."""
    rows = torch.arange(len(kept.z), device=kept.z.device)
    return keep_better(kept, found.z, Evaluation(found.loss, found.reached), rows, keep_strongest)
