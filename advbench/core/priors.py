"""What a picture should be like, as a penalty per image: z (A, C, H, W) -> (A,), to be added to what is minimised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Prior = Callable[[Tensor], Tensor]


def total_variation(beta: float = 2.0) -> Prior:
    """Sum over pixels and channels of (right difference^2 + lower difference^2)^(beta/2); a constant has 0.

    Differences stay inside: the last column has no right one, the last row no lower one. Mahendran and Vedaldi 2015,
    arXiv:1412.0035, equation 4. Raises ValueError if beta is not positive.
    """
    if beta <= 0:
        raise ValueError(f"total_variation: beta must be positive, got {beta}")

    def prior(z: Tensor) -> Tensor:
        if beta == 2.0:
            return _Squares.apply(z)  # type: ignore[no-any-return]
        right = functional.pad(z.diff(dim=3), (0, 1))
        down = functional.pad(z.diff(dim=2), (0, 0, 0, 1))
        squares = right.square() + down.square()
        # Below beta = 2 the power has no slope at 0: equal neighbours add nothing and pull at nothing.
        rough = squares > 0
        return torch.where(rough, torch.where(rough, squares, 1.0).pow(beta / 2), 0.0).flatten(1).sum(1)

    return prior


class _Squares(torch.autograd.Function):
    """Sum of the squared differences of neighbours, (A,). Its gradient takes four additions to a picture: with the
    chain rule, for each of the seven steps on the way, it would cost as much as a pass through a small network.
    """

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, z: Tensor) -> Tensor:
        right, down = z.diff(dim=3), z.diff(dim=2)
        context.save_for_backward(right, down)
        return right.square().sum((1, 2, 3)) + down.square().sum((1, 2, 3))

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        right, down = context.saved_tensors  # type: ignore[attr-defined]
        slope = functional.pad(down, (0, 0, 1, 0))
        slope[:, :, :-1] -= down
        slope[..., 1:] += right
        slope[..., :-1] -= right
        return slope.mul_(2.0 * grad[:, None, None, None])


def alpha_norm(alpha: float = 6.0, *, centre: float = 0.0) -> Prior:
    """Sum of |z - centre|^alpha: keeps values in a range. arXiv:1412.0035, section 3.2."""
    return lambda z: (z - centre).abs().pow(alpha).flatten(1).sum(1)


def edge_energy(padding: Literal["zeros", "replicate"] = "zeros") -> Prior:
    """Sum over scales of |u - blurred u|^2, each channel alone; u is halved by averaging while a side is above 5.

    The Gaussian is 5 x 5 with standard deviation 1. "zeros": the image is black outside, also for the averaging, as in
    Fleuret's course: a constant image then has edges at its rim. "replicate": the rim goes on outside, and a constant
    image has energy 0. Fleuret, Deep learning course, lecture 9.4 (fleuret.org/dlc).
    """
    row = torch.exp(-0.5 * torch.arange(-2.0, 3.0).square())
    row = row / row.sum()
    mode = "constant" if padding == "zeros" else "replicate"

    def prior(z: Tensor) -> Tensor:
        planes = z.contiguous().flatten(0, 1)[:, None]  # (A * C, 1, H, W)
        energy = z.new_zeros(len(planes))
        while min(planes.shape[2:]) > 5:
            wide = functional.pad(planes, (2, 2, 2, 2), mode=mode)
            # The Gaussian is separable, and five shifts are faster than a convolution of single planes.
            blurred = _weighed(_weighed(wide, row, 2), row, 3)
            energy = energy + (planes - blurred).square().flatten(1).sum(1)
            planes = functional.avg_pool2d(functional.pad(planes, (1, 1, 1, 1), mode=mode), 2)
        return energy.reshape(z.shape[:2]).sum(1)

    return prior


def _weighed(z: Tensor, weights: Tensor, dim: int) -> Tensor:
    """The convolution of z with the symmetric, odd number of weights along dim, without padding."""
    middle = len(weights) // 2
    size = z.shape[dim] - 2 * middle
    total = float(weights[middle]) * z.narrow(dim, middle, size)
    for i in range(middle):
        total = total + float(weights[i]) * (z.narrow(dim, i, size) + z.narrow(dim, 2 * middle - i, size))
    return total
