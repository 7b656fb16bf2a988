"""The boundary as a hyperplane: what `fab`, `deepfool` and their kin step onto."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advbench.core.gradients import backprop, nearest_lead
from advbench.core.hyperplanes import Hyperplane, distance
from advbench.core.losses import runners_up
from advbench.core.objectives import Objective

Linearise = Callable[[Tensor, Tensor], Hyperplane]  # (z (A, ...), rows (A,)) -> the boundary to go for, seen from z


def margin_plane(objective: Objective) -> Linearise:
    """The boundary where the objective's loss is zero. One forward and one backward pass."""

    def linearise(z: Tensor, rows: Tensor) -> Hyperplane:
        evaluation, grad = backprop(objective, z, rows)
        return Hyperplane(evaluation.loss, grad)

    return linearise


def nearest_plane(model: nn.Module, y: Tensor, logits: Tensor, norm: float, candidates: int | None = None) -> Linearise:
    """The boundary of y (B,) that is nearest in `norm` when every logit is taken to be linear.

    Only the classes that are the `candidates` best besides y by logits (B, K), those at x, are looked at; None: all.
    One forward pass, and a backward pass for each of them.
    """
    count = logits.shape[1] - 1 if candidates is None else candidates
    classes = torch.cat([y[:, None], runners_up(logits, y, count)], 1)  # (B, 1 + M)

    def away(value: Tensor, normal: Tensor) -> Tensor:
        return distance(Hyperplane(value, normal), norm)

    return lambda z, rows: Hyperplane(*nearest_lead(model, z, rows, classes[rows], away))
