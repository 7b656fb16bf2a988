"""AutoAttack: four complementary attacks without a parameter to tune. Croce and Hein 2020, arXiv:2003.01690."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Literal

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.ensemble.worst_case import Case, Part, attack_survivors, look, warn_if_random
from advbench.attacks.gradient.apgd import apgd
from advbench.attacks.gradient.apgd_t import apgd_t
from advbench.attacks.minimum_norm.fab import fab
from advbench.attacks.minimum_norm.fab_t import fab_t
from advbench.attacks.score.random_search import enough_queries
from advbench.attacks.score.square import square
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

_SAMPLES = 20  # passes of `rand`: published code


def standard(steps: int, queries: int, norm: float, *, abreast: int = 1) -> dict[str, Part]:
    """The standard set in its order, with the settings of the paper (section 5) and of its published code.

    In l1 APGD runs five times on the cross entropy and towards five classes instead of nine (arXiv:2103.01208, section
    5). abreast: classes that its targeted attacks go for at once.
    """
    restarts, classes = (5, 5) if norm == 1 else (1, 9)
    return {
        "apgd_ce": partial(apgd, steps=steps, restarts=restarts),
        "apgd_t": partial(apgd_t, steps=steps, target_classes=classes, abreast=abreast),
        "fab_t": partial(fab_t, steps=steps, abreast=abreast),
        "square": partial(square, queries=queries),
    }


def plus(steps: int, queries: int, norm: float) -> dict[str, Part]:
    """The larger set: restarts, and untargeted APGD on the DLR loss and FAB as well."""
    first = {
        "apgd_ce": partial(apgd, steps=steps, restarts=5),
        "apgd_dlr": partial(apgd, steps=steps, loss="dlr", restarts=5),
        "fab": partial(fab, steps=steps, restarts=5),
        "square": partial(square, queries=queries),
    }
    return {**first, "apgd_t": partial(apgd_t, steps=steps), "fab_t": partial(fab_t, steps=steps)}


def rand(steps: int, queries: int, norm: float) -> dict[str, Part]:
    """The set for models that are random themselves: gradients are means over several passes."""
    return {
        "apgd_ce": partial(apgd, steps=steps, samples=_SAMPLES),
        "apgd_dlr": partial(apgd, steps=steps, loss="dlr", samples=_SAMPLES),
    }


VERSIONS = {"standard": standard, "plus": plus, "rand": rand}


@attack(
    norms=(1, 2, inf),
    access="gradient",
    paper="arXiv:2003.01690",
    nested=True,
    ratio=1.02,
    cost=(8000, 1900),
    revision={1: 2, 2: 2},
)
def auto(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    version: Literal["standard", "plus", "rand"] = "standard",
    steps: int = 100,
    queries: int = 5000,
) -> Tensor:
    """x_adv: the first misclassified point that one of the attacks finds, else the point of the lowest margin.

    version: "standard" runs APGD on the cross entropy, targeted APGD on the DLR loss, targeted FAB and 5,000 queries of
    Square (in l1 the first five times, and towards five classes instead of nine); "plus" adds restarts, untargeted APGD
    on the DLR loss and untargeted FAB; "rand", for models that are random themselves, runs APGD on both losses with 20
    passes per step, and fooled is who is so in 20 passes. Each part sees only the samples that survived those before
    it. steps: of each run of APGD and FAB; queries: of Square. y is the class to leave: there is no targeted form.
    Raises ConfigError if threat.eps is None, the version is unknown, steps < 1 or queries < 2. Warns if a version other
    than "rand" meets a model whose answers to x differ from pass to pass.
    """
    threat.radius  # noqa: B018 - refuses a threat without one, before any work
    if version not in VERSIONS:
        raise ConfigError(f"version must be one of {', '.join(VERSIONS)}, got {version!r}")
    at_least_one("steps", steps)
    enough_queries(queries, 2, "one for x and one for the start of square")
    with frozen(model):
        case = Case(model, x, y, threat, samples=_SAMPLES if version == "rand" else 1)
        kept = look(case)
        if version != "rand":
            warn_if_random(case, kept, f"auto version={version}")
        for name, part in VERSIONS[version](steps, queries, threat.norm).items():
            kept = attack_survivors(kept, part, case, draws=draws.branch(name))
    return kept.z
