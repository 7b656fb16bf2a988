"""Multi-targeted PGD on the difference of two logits. Gowal et al. 2019, arXiv:1910.09338."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.gradient.runners_up_loop import towards_runners_up
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import Kept, keep_strongest, when_reached
from advbench.core.losses import Loss
from advbench.core.objectives import Objective
from advbench.core.projections import within
from advbench.core.sampling import random_start
from advbench.core.step_rules import cosine, steepest
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1910.09338", nested=True, ratio=1.01, cost=(370, 360))
def max_margin(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    target_classes: int = 9,
    steps: int = 40,
    first_step: float = 1.0,
    restarts: int = 1,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: any error counts, whichever class it is; without one, the iterate with the largest difference of logits.

    PGD from a random start on z_t - z_y towards each of the `target_classes` classes t other than y (B,) with the
    highest logits at x, each for the samples that survived all before it. The paper takes all classes.
    first_step: its length in units of eps; steps shorten to a fiftieth of it along half a cosine, since long steps at
    first help more than restarts. restarts: runs for each class. early_stop: leave a sample alone once it is
    adversarial; `transfer` turns that off.
    Raises ConfigError if threat.eps is None, target_classes, steps or restarts < 1, or first_step is not positive.
    """
    size = positive("first_step", first_step) * threat.radius
    at_least_one("steps", steps)

    def run(left: Tensor, objective: Objective, number: Tensor) -> Kept:
        return descend(
            random_start(x[left], threat, draws.rows(left), counter=number),
            objective,
            step=steepest(threat.norm, size, schedule=cosine(1.0, 0.02)),
            steps=steps,
            project=within(threat, x[left]),
            keep=keep_strongest,
            stop=when_reached if early_stop else None,
        )

    with frozen(model):
        return towards_runners_up(
            model,
            x,
            y,
            run,
            loss=_difference,
            count=at_least_one("target_classes", target_classes),
            restarts=at_least_one("restarts", restarts),
            early_stop=early_stop,
        ).z


def _difference(target: Tensor) -> Loss:
    return lambda logits, y: (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None]))[:, 0]
