"""What limited-memory quasi-Newton methods remember of a loss, per sample. Nocedal and Wright 2006, section 7.2."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_LEAST = 1e-10  # of |turn|^2: a pair with less curvature is not remembered


class Curvature(NamedTuple):
    """The last m pairs of a move and how the gradient turned on it, oldest first; inverse 0 marks an empty place."""

    moves: Tensor  # (A, m, D)
    turns: Tensor  # (A, m, D)
    inverse: Tensor  # (A, m) 1 / <move, turn>


def no_curvature(z: Tensor, memory: int) -> Curvature:
    """Nothing remembered of the samples z (A, ...)."""
    empty = z.new_zeros(len(z), memory, math.prod(z.shape[1:]))
    return Curvature(empty, empty.clone(), z.new_zeros(len(z), memory))


def remembered(old: Curvature, move: Tensor, turn: Tensor) -> Curvature:
    """`old` with the pair of move and turn (A, ...) of each sample whose loss has curvature there."""
    s, t = move.flatten(1), turn.flatten(1)
    curvature = (s * t).sum(1)
    keep = curvature > _LEAST * t.square().sum(1)
    inverse = torch.where(keep, 1.0 / torch.where(keep, curvature, 1.0), 0.0)
    return Curvature(
        _push(old.moves, s, keep),
        _push(old.turns, t, keep),
        _push(old.inverse[..., None], inverse[:, None], keep)[..., 0],
    )


def newton_like(known: Curvature, grad: Tensor) -> Tensor:
    """The approximate inverse Hessian times grad (A, ...): algorithm 7.4; grad itself where nothing is known."""
    moves, turns, inverse = known
    # In place: of a picture, q and each of the pairs are megabytes.
    q, weights = grad.flatten(1).clone(), []
    for i in reversed(range(moves.shape[1])):
        weight = inverse[:, i] * _dot(moves[:, i], q)
        q.addcmul_(weight[:, None], turns[:, i], value=-1.0)
        weights.append(weight)
    newest = inverse[:, -1] > 0
    scale = (inverse[:, -1] * turns[:, -1].square().sum(1)).clamp_min(torch.finfo(grad.dtype).tiny)
    q.mul_(torch.where(newest, 1.0 / scale, 1.0)[:, None])
    for i, weight in zip(range(moves.shape[1]), reversed(weights), strict=True):
        q.addcmul_((weight - inverse[:, i] * _dot(turns[:, i], q))[:, None], moves[:, i])
    return q.reshape(grad.shape)


def _push(memory: Tensor, item: Tensor, keep: Tensor) -> Tensor:
    """The memory (A, m, D) with item (A, D) as its newest entry where `keep` (A,)."""
    pushed = torch.cat([memory[:, 1:], item[:, None]], 1)
    # On a GPU the question would cost more than the copy.
    if memory.device.type == "cpu" and bool(keep.all()):
        return pushed
    return torch.where(keep[:, None, None], pushed, memory)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Row by row: (A, D) and (A, D) -> (A,)."""
    return torch.bmm(first[:, None], second[:, :, None])[:, 0, 0]
