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
from advbench.attacks.score.square import square
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import Kept, keep_better, keep_strongest
from advbench.core.marks import mark
from advbench.core.norms import lengths
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_NEARLY = 0.1  # of the clean margin: what is left of a sample that nearly fell


class Evidence(NamedTuple):
    """What the short attacks left of each sample (B,): margins as shares of the clean one, and FAB's distances."""

    gradient: Tensor
    search: Tensor
    first_walk: Tensor
    second_walk: Tensor


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:2003.01690", nested=True, ratio=1.02, cost=(41000, 28500))
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
    populations: int = 1,
    steps: int = 100,
    queries: int = 5000,
) -> Tensor:
    """x_adv: the first misclassified point that one of the attacks finds, else the point of the lowest margin.

    First every sample meets short attacks: APGD (a fifth of `steps`), targeted APGD (three tenths, 3 classes), targeted
    FAB (a tenth and a fifth, 3 classes), Square (a tenth of `queries`). A survivor is in doubt if its margin fell below
    the share `doubt` of the clean one, if FAB came as near as 1.05 eps, if the random search got lower than the
    gradient by more than 0.15 of the clean margin, or if the longer walk of FAB came nearer than the shorter by more
    than a quarter: gradients then say little. Samples in doubt meet the whole set of `auto`, and after it `persistence`
    more runs of targeted APGD and FAB from random starts if their margin is below a tenth, and then, except in l1,
    `populations` runs of `memetic`, each with up to 46,000 passes for such a sample, whatever `steps` and `queries`
    are (0: none). The others are marked "decided", but a random share `audit` of them (0 .. 1) is attacked to the end
    all the same and marked "audited": `metrics.audit` makes a bound on what the rule overlooked of it, which
    `advbench run` prints. Warns like `auto` if the model's answers differ from pass to pass.
    Raises ConfigError if threat.eps is None, audit is not in [0, 1], steps or queries < 1, or another number is
    negative.
    """
    threat.radius, at_least_zero("doubt", doubt), at_least_zero("persistence", persistence)
    at_least_zero("populations", populations), at_least_one("steps", steps), at_least_one("queries", queries)
    if not 0.0 <= audit <= 1.0:
        raise ConfigError(f"audit must be in [0, 1], got {audit}")
    with frozen(model):
        case = Case(model, x, y, threat)
        kept = look(case)
        warn_if_random(case, kept, "cascade")
        clean = kept.loss
        kept, seen = _short_attacks(kept, case, draws, steps, queries)
        doubtful = ~kept.reached & _in_doubt(seen, doubt, threat.radius)
        chosen = ~kept.reached & ~doubtful & (draws.uniform((), "audit") < audit)
        mark("audited", chosen.nonzero()[:, 0])
        mark("decided", (~kept.reached & ~doubtful & ~chosen).nonzero()[:, 0])
        whole = standard(steps, queries)
        for name in ("fab_t", "apgd_ce", "apgd_t", "square"):  # where gradients mislead, FAB is the cheapest
            kept = attack_survivors(kept, whole[name], case, draws=draws.branch(name), among=doubtful | chosen)
        near = doubtful & (kept.loss / clean < _NEARLY)
        for name, part in _again(steps).items() if persistence else ():
            mine = draws.branch(f"{name} again")
            kept = attack_survivors(kept, in_copies(part, persistence), case, draws=mine, among=near)
        if populations and threat.norm != 1:
            near = doubtful & (kept.loss / clean < _NEARLY)
            part = partial(memetic, restarts=populations)
            kept = attack_survivors(kept, part, case, draws=draws.branch("memetic"), among=near)
    return kept.z


def _again(steps: int) -> dict[str, Part]:
    """For samples that nearly fell: the likeliest classes once more, from other starts."""
    return {
        "apgd_t": partial(apgd_t, target_classes=3, steps=steps),
        "fab_t": partial(fab_t, target_classes=3, steps=steps, random_start=True),
    }


def _short_attacks(kept: Kept, case: Case, draws: Draws, steps: int, queries: int) -> tuple[Kept, Evidence]:
    """The record (B, ...) after the short attacks, and what they say about those that survive."""
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
        distance = lengths(found.z - case.x, case.threat.norm)
        walks.append(torch.where(found.reached, distance, inf))
        near = found.reached & (distance <= case.threat.radius)
        kept = _better(kept, found._replace(reached=near, loss=torch.where(near, found.loss, inf)))
    search = partial(square, queries=max(queries // 10, 2))
    found = attack_survivors(_forgotten(kept), search, case, draws=draws.branch("short square"))
    return _better(kept, found), Evidence(gradient, found.loss / clean, walks[0], walks[1])


def _in_doubt(seen: Evidence, doubt: float, eps: float) -> Tensor:
    """(B,) bool: may a longer attack still fool this sample?

    The limits were read off three cases: on an adversarially trained MNIST net at its own linf radius the walks came
    nearer by at most 23 %, on a CIFAR-10 net by 15 %; on the former in l2, where its gradients are masked, by 42 % or
    more for every sample.
    """
    near = (torch.minimum(seen.gradient, seen.search) < doubt) | (seen.second_walk < 1.05 * eps)
    misled = seen.search < seen.gradient - 0.15
    # A walk that finds nothing says no more than one that has not ended.
    on_the_way = ~(seen.second_walk >= 0.75 * seen.first_walk) | torch.isinf(seen.second_walk)
    return near | misled | on_the_way


def _forgotten(kept: Kept) -> Kept:
    """The same record without the points of the samples that hold: what comes next is seen on its own."""
    return kept._replace(loss=torch.where(kept.reached, kept.loss, inf))


def _better(kept: Kept, found: Kept) -> Kept:
    """The better of two records (B, ...)."""
    rows = torch.arange(len(kept.z), device=kept.z.device)
    return keep_better(kept, found.z, Evaluation(found.loss, found.reached), rows, keep_strongest)
