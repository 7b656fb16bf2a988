"""Gradients averaged over several looks: at random views of an image, or by a model that is random itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.gradients import Gradient, backprop
from advbench.core.objectives import Objective
from advbench.types import Evaluation, ThreatModel

Look = Callable[[Tensor, Draws, int], Tensor]  # z (A, ...), the draws of these samples, the number of the look


def in_box_of(threat: ThreatModel, look: Look) -> Look:
    """`look`, which is made for images in [0, 1], at images in the threat's box."""
    low, width = threat.low, threat.high - threat.low
    return lambda z, draws, number: low + width * look((z - low) / width, draws, number)


def over_looks(look: Look, draws: Draws, *, looks: int, repeats: int = 1, itself: bool = False) -> Gradient:
    """A gradient for `descend`: the mean loss over `looks` looks at z and its gradient, reached where each reaches it.

    Call k of the gradient takes the looks numbered k * looks, ... : make a new one for each descent, which all samples
    begin together; then what a sample sees does not depend on the batch. `draws` are those of the batch. repeats: times
    that each look is shown to the model, which matters if that is random. itself: z as it is counts as one more look.
    One look at a time goes through the model, so memory does not grow with their number.
    """
    calls = 0

    def gradient(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
        nonlocal calls
        first, calls = calls * looks, calls + 1
        found = [backprop(objective, z, rows) for _ in range(repeats)] if itself else []
        for i in range(looks):
            found += [backprop(_looked(look, draws, first + i, objective), z, rows) for _ in range(repeats)]
        losses = torch.stack([evaluation.loss for evaluation, _ in found])
        reached = torch.stack([evaluation.reached for evaluation, _ in found]).all(0)
        return Evaluation(losses.mean(0), reached), torch.stack([grad for _, grad in found]).mean(0)

    return gradient


def _looked(look: Look, draws: Draws, number: int, objective: Objective) -> Objective:
    return lambda z, rows: objective(look(z, draws.rows(rows), number), rows)
