"""A model that is random itself, asked several times: expectation over its randomness. Athalye et al. 2018."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.core.gradients import backprop, evaluate
from advbench.core.objectives import Objective
from advbench.types import Evaluation


def mean_backprop(objective: Objective, z: Tensor, rows: Tensor, *, samples: int) -> tuple[Evaluation, Tensor]:
    """The mean loss at z (A, ...) over `samples` passes and its gradient, like z; reached where every pass reaches it.

    One pass at a time, so memory does not grow with their number. arXiv:1802.00420, section 4.1.
    """
    seen, grad = backprop(objective, z, rows)
    loss, reached = seen.loss, seen.reached
    for _ in range(samples - 1):
        seen, more = backprop(objective, z, rows)
        loss, reached, grad = loss + seen.loss, reached & seen.reached, grad + more
    return Evaluation(loss / samples, reached), grad / samples


def mean_evaluate(objective: Objective, z: Tensor, rows: Tensor, *, samples: int) -> Evaluation:
    """The same without gradient."""
    found = [evaluate(objective, z, rows) for _ in range(samples)]
    loss = torch.stack([seen.loss for seen in found]).mean(0)
    return Evaluation(loss, torch.stack([seen.reached for seen in found]).all(0))
