"""Gradient ascent on the loss, as lectures teach it: the simplest attack. Szegedy et al. 2014, arXiv:1312.6199."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import when_reached
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import plain
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:1312.6199", unbounded=True, cost=(16, 15), revision={1: 2})
def loss_ascent(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 15,
    step_size: float = 0.1,
    early_stop: bool = False,
) -> Tensor:
    """x_adv after `steps` steps x + step_size * gradient of the cross entropy (down to y, if `targeted`), in the box.

    No sign, no normalisation: the gradient's own length decides how far x moves, so nothing happens where the model is
    sure of itself. step_size is for images in [0, 1]. Lectures step on images divided by a standard deviation s, where
    the same number goes s^2 as far: their 0.1 on an ImageNet model is 0.005 here, and 0.1 here is visible. Every sample
    takes all steps, so a recorder around the model sees the class after each: steps + 1 passes; with early_stop it is
    left alone once it is adversarial. The last iterate is returned, or the last adversarial one on the path; with a
    radius, every iterate is projected into the ball. `draws` is not used.
    Raises ConfigError if steps < 1 or step_size <= 0.
    """
    with frozen(model):
        return descend(
            x,
            misclassify(model, y, targeted=targeted),
            step=plain(positive("step_size", step_size)),
            steps=at_least_one("steps", steps),
            project=within(threat, x),
            stop=when_reached if early_stop else None,
        ).z
