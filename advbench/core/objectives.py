"""What is minimised: functions of the free variables z (A, ...) and the rows (A,) of the batch they stand for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advbench.core.losses import Loss, cross_entropy, kl
from advbench.types import Evaluation

Objective = Callable[[Tensor, Tensor], Evaluation]

# An example is judged in another batch, where logits round differently: it must be past the boundary by this part of
# the loss at x, and by a few digits of the logits, or it may turn out to be none.
_FIRM, _DIGITS = 1e-5, 1e-6


def misclassify(model: nn.Module, y: Tensor, *, targeted: bool = False, loss: Loss = cross_entropy) -> Objective:
    """Push the prediction away from y (B,), or onto it if `targeted`. reached: the prediction is where it should be."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, labels = model(z), y[rows]
        value, hit = loss(logits, labels), logits.argmax(1) == labels
        return Evaluation(value, hit) if targeted else Evaluation(-value, ~hit)

    return objective


def diverge(model: nn.Module, reference: Tensor) -> Objective:
    """Push the output distribution away from softmax(reference) (B, K). reached: the prediction has changed."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, old = model(z), reference[rows]
        return Evaluation(-kl(old, logits), logits.argmax(1) != old.argmax(1))

    return objective


def slack_of(loss_at_x: Tensor, logits: Tensor | None = None) -> Tensor:
    """By how much (B,) a loss that is 0 on the boundary must be below it to be so in another batch too.

    logits (B, K): those at x, if they are known; the digits of a large logit may outweigh a small margin.
    """
    part = _FIRM * loss_at_x.abs()
    return part if logits is None else part + _DIGITS * logits.abs().amax(1)


def firmly(objective: Objective, slack: Tensor) -> Objective:
    """The same goal, reached only where the loss is below the boundary, 0, by `slack` (B,). The loss is 0 there."""

    def objective_beyond(z: Tensor, rows: Tensor) -> Evaluation:
        loss, reached = objective(z, rows)
        return Evaluation(loss + slack[rows], reached & (loss <= -slack[rows]))

    return objective_beyond


def excite(score: Callable[[Tensor], Tensor]) -> Objective:
    """Raise score(z) (A,): an activation, a logit, an energy. Never reached."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        value = score(z)
        return Evaluation(-value, torch.zeros_like(value, dtype=torch.bool))

    return objective


def through(decode: Callable[[Tensor], Tensor], objective: Objective) -> Objective:
    """The objective of decode(z): how a parameterisation or a random view is put in front."""
    return lambda z, rows: objective(decode(z), rows)
