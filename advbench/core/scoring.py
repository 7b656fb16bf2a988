"""Scores of a target and their gradients with respect to the image, in pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from advbench.core.gradients import backprop, evaluate, piece_size
from advbench.core.objectives import Objective
from advbench.core.targets import Target, scores
from advbench.types import Evaluation

_IMAGES = 32  # held at a time where a method makes many out of one and nobody has set a size (`in_pieces`)


def scores_at(model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> Tensor:
    """The target's score (A,) at z (A, C, H, W), without gradient; `rows` (A,) index the explained batch."""
    return evaluate(_as_objective(model, target), z, rows).loss


def score_gradient(model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The score (A,) and each sample's gradient of its own score, like z (A, C, H, W); what is not finite becomes 0."""
    evaluation, grad = backprop(_as_objective(model, target), z, rows)
    return evaluation.loss, grad


def all_rows(x: Tensor) -> Tensor:
    """0 .. B - 1."""
    return torch.arange(len(x), device=x.device)


def turns(count: int, batch: int) -> Iterator[range]:
    """0 .. count - 1 in ranges: so many variants of each of `batch` samples as may be held in memory together.

    At least one variant at a time; `backprop` and `evaluate` cut further if even that is too much.
    """
    most = piece_size() or _IMAGES
    each = max(1, most // max(batch, 1))
    for start in range(0, count, each):
        yield range(start, min(start + each, count))


def _as_objective(model: nn.Module, target: Target) -> Objective:
    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        value = scores(model, z, target, rows)
        return Evaluation(value, torch.zeros_like(value, dtype=torch.bool))

    return objective
