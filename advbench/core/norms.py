"""Lengths of perturbations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def lengths(delta: Tensor, norm: float) -> Tensor:
    """Length (B,) of each delta (B, ...) in `norm` (0, 1, 2 or inf), same dtype. l0 counts changed components."""
    return LENGTHS[norm](delta.flatten(1))


def dual(norm: float) -> float:
    """The norm q with |<u, v>| <= |u|_p |v|_q, for p in 1, 2, inf."""
    return {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[norm]


def per_sample(values: Tensor | float, like: Tensor) -> Tensor | float:
    """`values` (B,) shaped to broadcast against like (B, ...); a plain number stays one."""
    return values.reshape(-1, *[1] * (like.dim() - 1)) if isinstance(values, Tensor) else values


def _linf(flat: Tensor) -> Tensor:
    return flat.abs().amax(1) if flat.shape[1] else flat.new_zeros(len(flat))


def _count(flat: Tensor) -> Tensor:
    return (flat != 0).sum(1).to(flat.dtype)


LENGTHS: dict[float, Callable[[Tensor], Tensor]] = {
    0.0: _count,
    1.0: lambda flat: flat.abs().sum(1),
    2.0: lambda flat: torch.linalg.vector_norm(flat, dim=1),
    math.inf: _linf,
}
