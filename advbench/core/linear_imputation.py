"""Hidden pixels as weighted means of their neighbours, all solved for at once. Rong et al. 2022, arXiv:2202.00449."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from advbench.core.fill_in import filled_in

_VALUES = 3 * 224 * 224  # solved for together on a processor: more would leave its cache, and takes twice as long
_CHECK = 8  # steps between two looks at who is done: each waits for the device


def linear_imputation(x: Tensor, hidden: Tensor, *, tolerance: float = 1e-6) -> Tensor:
    """x (B, C, H, W) with each of the pixels `hidden` (B, H, W) bool equal to the weighted mean of its 8 neighbours.

    The paper's noisy linear imputation without the noise: direct neighbours weigh 1/6, diagonal ones 1/12, at a border
    those that are there in proportion. Seen pixels stay as they are; of an image that is hidden throughout nothing is
    known, and it becomes 0.5. The system is symmetric and positive definite: conjugate gradients, begun at
    `core.fill_in`, until no equation is off by more than `tolerance`, in units of x (in float32 up to its rounding).
    Each sample on its own.
    """
    each = max(1, _VALUES // max(x.shape[1:].numel(), 1) if x.device.type == "cpu" else len(x))
    pieces = zip(torch.split(x, each), torch.split(hidden, each), strict=True)
    return torch.cat([_solved(*piece, tolerance) for piece in pieces])


def _solved(x: Tensor, hidden: Tensor, tolerance: float) -> Tensor:
    """All samples at once, those that are done left out."""
    start = filled_in(x, hidden)
    inside = hidden[:, None].to(x)  # (B, 1, H, W)
    degree = _around(torch.ones_like(inside[:1])).clamp_min(torch.finfo(x.dtype).tiny)  # what the neighbours weigh
    solution, rows = start.clone(), torch.arange(len(x), device=x.device)
    value, residual = start, -_equations(start, inside, degree)
    direction = residual / degree
    power = _inner(residual, direction)
    for step in range(x.shape[2] * x.shape[3]):
        if step % _CHECK == 0:
            left = residual.abs().amax((1, 2, 3)) > tolerance
            solution[rows] = value
            if not bool(left.any()):
                return solution
            rows, value, residual, direction = rows[left], value[left], residual[left], direction[left]
            inside, power = inside[left], power[left]
        change = _equations(direction, inside, degree)
        length = power / _inner(direction, change).clamp_min(torch.finfo(x.dtype).tiny)
        value, residual = torch.addcmul(value, length, direction), torch.addcmul(residual, length, change, value=-1.0)
        conditioned = residual / degree
        before, power = power, _inner(residual, conditioned)
        share = power / before.clamp_min(torch.finfo(x.dtype).tiny)
        direction = torch.addcmul(conditioned, share, direction)
    solution[rows] = value
    return solution


def _equations(u: Tensor, inside: Tensor, degree: Tensor) -> Tensor:
    """By how much each hidden pixel of u is above what its neighbours say, times their weight; 0 at seen pixels."""
    return inside * (degree * u - _around(u))


def _around(u: Tensor) -> Tensor:
    """Sum of the 8 neighbours, 1/6 of direct and 1/12 of diagonal ones; outside of the image is 0."""
    padded = functional.pad(u, (1, 1, 1, 1))
    across = padded[..., :-2] + 2.0 * padded[..., 1:-1] + padded[..., 2:]
    return (across[..., :-2, :] + 2.0 * across[..., 1:-1, :] + across[..., 2:, :] - 4.0 * u) / 12.0


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)
