"""The descent that all attacks on explanations share: move the gradient map, keep the predicted class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.descent import descend
from advbench.core.gradient_map import gradient_map, gradient_shares
from advbench.core.gradients import backprop, evaluate, frozen, logits_at
from advbench.core.keep import Kept, keep_strongest
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import within
from advbench.core.smooth_relu import smooth_relu
from advbench.core.step_rules import StepRule
from advbench.types import Evaluation, ThreatModel

MapLoss = Callable[[Tensor, Tensor], Tensor]  # (shares (A, H, W), rows (A,)) -> (A,), low where the map is as wished


class Aim(NamedTuple):
    """Where a map should go. loss: what is descended, on the smooth network; result: what is kept, on the true one.

    done: a result so low that a sample may leave.
    """

    loss: MapLoss
    result: MapLoss
    done: float = -torch.inf


def shift_map(
    model: nn.Module,
    x: Tensor,
    threat: ThreatModel,
    *,
    aim: Callable[[Tensor], Aim],
    step: StepRule,
    betas: Sequence[float],
    output_weight: float = 0.0,
) -> Tensor:
    """x_adv with the lowest result among the iterates that the true network gives the class it predicts at x.

    aim(shares): the aim, given the maps (B, H, W) at x. betas: the softplus of each step. output_weight: of the squared
    distance between the class probabilities at z and at x, added to the loss. Where the class is lost, the next step
    leads back, down its cross entropy. A point without any gradient does not count: its map says nothing. x itself is
    the first iterate, so that a sample which does not move stays as it came.
    """
    everything = torch.arange(len(x), device=x.device)
    smoothness = iter(betas)
    with frozen(model):
        logits = logits_at(model, x, everything)
        classes, probabilities = logits.argmax(1), logits.softmax(1)
        wanted = aim(gradient_shares(model, x, classes))

        def seen(z: Tensor, rows: Tensor) -> Evaluation:
            found = gradient_map(model, z, classes[rows])
            same = found.logits.argmax(1) == classes[rows]
            return Evaluation(wanted.result(found.shares, rows), same & found.alive)

        def smooth(z: Tensor, rows: Tensor) -> Evaluation:
            found = gradient_map(model, z, classes[rows], with_graph=True)
            moved = (found.logits.softmax(1) - probabilities[rows]).square().sum(1)
            # Also with weight 0: the derivative of the gradient is a second pass back, and whoever counts shall see it.
            return Evaluation(wanted.loss(found.shares, rows) + output_weight * moved, found.alive)

        back = misclassify(model, classes, targeted=True)

        def gradient(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
            evaluation, beta = evaluate(objective, z, rows), next(smoothness)
            grad = torch.zeros_like(z)
            here, lost = evaluation.reached.nonzero()[:, 0], (~evaluation.reached).nonzero()[:, 0]
            if len(here):
                with smooth_relu(beta):
                    grad[here] = backprop(smooth, z[here], rows[here])[1]
            if len(lost):
                grad[lost] = backprop(back, z[lost], rows[lost])[1]
            return evaluation, grad

        kept = descend(
            x,
            seen,
            step=step,
            steps=len(betas),
            project=within(threat, x),
            gradient=gradient,
            keep=keep_strongest,
            stop=lambda known: known.reached & (known.loss <= wanted.done),
        )
    return _or_as_it_came(kept, x)


def _or_as_it_came(kept: Kept, x: Tensor) -> Tensor:
    return torch.where(kept.reached.reshape(-1, *[1] * (x.dim() - 1)), kept.z, x)
