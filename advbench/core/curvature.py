"""What limited-memory quasi-Newton methods remember of a loss, per sample. Nocedal and Wright 2006, section 7.2."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_LEAST = 1e-10  # of |turn|^2: a pair with less curvature is not remembered


class Curvature(NamedTuple):
    """The last m pairs of a move and how the gradient turned on it, oldest first; inverse 0 marks an empty place.

    Each place is a tensor of its own: of a picture all of them together are 100 MB, which a new pair must not move.
    """

    moves: tuple[Tensor, ...]  # m times (A, D)
    turns: tuple[Tensor, ...]  # m times (A, D)
    inverse: tuple[Tensor, ...]  # m times (A,): 1 / <move, turn>

    def rows(self, index: Tensor) -> Curvature:
        """What is known of these samples."""
        return Curvature(*(tuple(place[index] for place in places) for places in self))


def no_curvature(z: Tensor, memory: int) -> Curvature:
    """Nothing remembered of the samples z (A, ...)."""
    empty = (z.new_zeros(len(z), math.prod(z.shape[1:])),) * memory
    return Curvature(empty, empty, (z.new_zeros(len(z)),) * memory)


def remembered(old: Curvature, move: Tensor, turn: Tensor) -> Curvature:
    """`old` with the pair of move and turn (A, ...) of each sample whose loss has curvature there."""
    s, t = move.flatten(1), turn.flatten(1)
    curvature = (s * t).sum(1)
    keep = curvature > _LEAST * t.square().sum(1)
    inverse = torch.where(keep, 1.0 / torch.where(keep, curvature, 1.0), 0.0)
    # On a GPU the question would cost more than the copies.
    everybody = keep.device.type == "cpu" and bool(keep.all())
    pushed = [(*places[1:], new) for places, new in zip(old, (s, t, inverse), strict=True)]
    if everybody:
        return Curvature(*pushed)
    return Curvature(
        *(
            tuple(torch.where(keep.reshape(-1, *[1] * (n.dim() - 1)), n, o) for n, o in zip(new, places, strict=True))
            for new, places in zip(pushed, old, strict=True)
        )
    )


def newton_like(known: Curvature, grad: Tensor) -> Tensor:
    """The approximate inverse Hessian times grad (A, ...): algorithm 7.4; grad itself where nothing is known."""
    moves, turns, inverse = known
    # In place: of a picture, q and each of the pairs are megabytes.
    q, weights = grad.flatten(1).clone(), []
    for s, t, part in zip(reversed(moves), reversed(turns), reversed(inverse), strict=True):
        weight = part * _dot(s, q)
        q.addcmul_(weight[:, None], t, value=-1.0)
        weights.append(weight)
    newest = inverse[-1] > 0
    scale = (inverse[-1] * turns[-1].square().sum(1)).clamp_min(torch.finfo(grad.dtype).tiny)
    q.mul_(torch.where(newest, 1.0 / scale, 1.0)[:, None])
    for s, t, part, weight in zip(moves, turns, inverse, reversed(weights), strict=True):
        q.addcmul_((weight - part * _dot(t, q))[:, None], s)
    return q.reshape(grad.shape)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Row by row: (A, D) and (A, D) -> (A,)."""
    return torch.bmm(first[:, None], second[:, :, None])[:, 0, 0]
