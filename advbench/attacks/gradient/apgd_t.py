"""Auto-PGD towards each of the most likely wrong classes. Croce and Hein 2020, arXiv:2003.01690, section 4."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.gradient.auto_pgd_loop import auto_pgd
from advbench.attacks.gradient.runners_up_loop import towards_runners_up
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import Kept
from advbench.core.losses import targeted_dlr
from advbench.core.objectives import Objective
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:2003.01690", nested=True, ratio=1.01, cost=(928, 900))
def apgd_t(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    target_classes: int = 9,
    steps: int = 100,
    restarts: int = 1,
    rho: float = 0.75,
    abreast: int = 1,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: any error counts, whichever class it is; without one, the iterate of the highest loss.

    One run of Auto-PGD towards each of the `target_classes` classes other than y (B,) with the highest logits at x, on
    the targeted difference of logits ratio, each for the samples that survived all before it. With fewer than four
    classes there is no such ratio: the difference of the two logits is raised instead. restarts: runs for each class.
    abreast: classes that are gone for at once, in one batch of copies: up to twice as fast for a handful of samples,
    but a class beside one that is reached is paid for all the same. rho and early_stop as in `apgd`.
    Raises ConfigError if threat.eps is None, target_classes, steps, restarts or abreast < 1, or rho is not positive.
    """
    threat.radius, positive("rho", rho), at_least_one("steps", steps)

    def run(left: Tensor, objective: Objective, number: Tensor) -> Kept:
        return auto_pgd(
            x[left],
            objective,
            threat,
            draws=draws.rows(left).branch("towards"),
            steps=steps,
            rho=rho,
            early_stop=early_stop,
            counter=number,
        )

    with frozen(model):
        return towards_runners_up(
            model,
            x,
            y,
            run,
            loss=targeted_dlr,
            count=at_least_one("target_classes", target_classes),
            restarts=at_least_one("restarts", restarts),
            early_stop=early_stop,
            abreast=at_least_one("abreast", abreast),
        ).z
