"""Fooling images: from any image to any class, until the network is fooled. Szegedy et al. 2014, arXiv:1312.6199."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.losses import margin
from advbench.core.objectives import Objective
from advbench.core.projections import within
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:1312.6199", unbounded=True, cost=(101, 100), revision={1: 2})
def fooling(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 100,
    step_size: float = 0.2,
    confidence: float = 0.0,
) -> Tensor:
    """x_adv: x moved along the normalised gradient of the raw score of y, up if `targeted`, until the model is fooled.

    step_size: l2 length of a step on the [0, 1] image (0.2 is about 1 after division by ImageNet's deviations).
    confidence: the logit lead that counts as fooled. A sample stops at its first success, so x_adv is at most one step
    too far; if it never succeeds its last iterate is returned. With a radius, every iterate is projected into the ball.
    `draws` is not used. Raises ConfigError if steps < 1, step_size <= 0 or confidence < 0.
    """
    with frozen(model):
        return descend(
            x,
            _score(model, y, targeted, at_least_zero("confidence", confidence)),
            step=steepest(2.0, positive("step_size", step_size)),
            steps=at_least_one("steps", steps),
            project=within(threat, x),
        ).z


def _score(model: nn.Module, y: Tensor, targeted: bool, confidence: float) -> Objective:
    """Raise the logit of y (B,) until it leads by `confidence`, or lower it until another does."""
    sign = -1.0 if targeted else 1.0

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, labels = model(z), y[rows]
        score = logits.gather(1, labels[:, None])[:, 0]  # (A,)
        lead = -sign * margin(logits, labels)  # (A,) positive where the goal is met
        met = (logits.argmax(1) == labels) == targeted  # the judge's rule, which also settles ties
        return Evaluation(sign * score, met & (lead >= confidence))

    return objective
