"""Scores of a target and their gradients with respect to the image, in pieces that fit into memory and into the cache.

Where nobody has set a size (`in_pieces`), a processor works on 8 images of 224 x 224 at a time, channels last: an
activation of more would exceed 32 MiB, which the allocator hands back to the system and faults in again at each pass.
Together this halves the time of a SqueezeNet or ResNet-18. Results are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from advbench.core.gradients import backprop, evaluate, in_pieces, piece_size
from advbench.core.memory_order import in_wanted_order
from advbench.core.objectives import Objective
from advbench.core.targets import Target, scores
from advbench.types import Evaluation

_IMAGES = 32  # held at a time where a method makes many out of one and nobody has set a size (`in_pieces`)
_VALUES = 8 * 3 * 224 * 224  # of the images that go through a network together on a processor


def scores_at(model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> Tensor:
    """The target's score (A,) at z (A, C, H, W), without gradient; `rows` (A,) index the explained batch."""
    with in_pieces(fitting_piece(z)):
        return evaluate(_as_objective(model, target), z, rows).loss


def score_gradient(model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The score (A,) and each sample's gradient of its own score, like z (A, C, H, W); what is not finite becomes 0."""
    with in_pieces(fitting_piece(z)):
        evaluation, grad = backprop(_as_objective(model, target), z, rows)
    return evaluation.loss, grad.contiguous()


def fitting_piece(z: Tensor) -> int | None:
    """Samples of z (A, ...) that go through a network together: what `in_pieces` says, else what fits the processor."""
    if piece_size() is not None or z.device.type != "cpu":
        return piece_size()
    return max(1, _VALUES // max(z.shape[1:].numel(), 1))


def row_pieces(x: Tensor) -> tuple[Tensor, ...]:
    """0 .. B - 1 of x (B, ...), cut into the samples that go through a network together; one empty piece of none."""
    return torch.split(all_rows(x), max(fitting_piece(x) or len(x), 1))


def all_rows(x: Tensor) -> Tensor:
    """0 .. B - 1."""
    return torch.arange(len(x), device=x.device)


def turns(count: int, batch: int, least: int | None = None) -> Iterator[range]:
    """0 .. count - 1 in ranges: so many variants of each of `batch` samples as may be held in memory together.

    At least one variant at a time; `backprop` and `evaluate` cut further if even that is too much. least: images at a
    time where nobody has set a size; `fitting_piece` of the batch fills the processor with small ones.
    """
    most = piece_size() or max(least or 0, _IMAGES)
    each = max(1, most // max(batch, 1))
    for start in range(0, count, each):
        yield range(start, min(start + each, count))


def _as_objective(model: nn.Module, target: Target) -> Objective:
    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        value = score_with_graph(model, z, target, rows)
        return Evaluation(value, torch.zeros_like(value, dtype=torch.bool))

    return objective


def score_with_graph(model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> Tensor:
    """`targets.scores`, with the image's channels last in memory where that is faster: equal up to rounding."""
    return in_wanted_order(model, z, lambda ordered: scores(model, ordered, target, rows))
