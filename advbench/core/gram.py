"""Gram matrices: which channels are strong together, wherever that is. Gatys et al. 2015, arXiv:1505.07376."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from advbench.types import ConfigError


def gram(maps: Tensor) -> Tensor:
    """Mean over positions of the products of channels: maps (B, C, H, W) -> (B, C, C), symmetric.

    Divided by H W, so that images of different sizes compare. Where the channels are does not matter: any permutation
    of the positions has the same Gram matrix.
    """
    return _Gram.apply(maps)  # type: ignore[no-any-return]


def gram_distance(first: Tensor, second: Tensor) -> Tensor:
    """Sum of squared differences of two Gram matrices (B, C, C), divided by C^2: (B,)."""
    return (first - second).square().flatten(1).mean(1)


def distance_from_gram(maps: Tensor, wanted: Tensor) -> Tensor:
    """`gram_distance` of the Gram matrix of maps (B, C, H, W) from wanted (B, C, C), symmetric and held fixed: (B,).

    Its gradient at the maps is formed at once, 4 (G - wanted) F / (C^2 H W): arXiv:1505.07376, equation 4.
    """
    return _Distance.apply(maps, wanted)  # type: ignore[no-any-return]


class _Gram(torch.autograd.Function):
    """F F^T / M of F (B, C, M). Its gradient is one product, where that of a product of two matrices would be two."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, maps: Tensor) -> Tensor:
        context.save_for_backward(maps)
        flat = maps.flatten(2)
        return flat @ flat.transpose(1, 2) / max(1, flat.shape[2])

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        (maps,) = context.saved_tensors  # type: ignore[attr-defined]
        return _mixed((grad + grad.transpose(1, 2)) / max(1, maps.shape[2] * maps.shape[3]), maps)


class _Distance(torch.autograd.Function):
    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, maps: Tensor, wanted: Tensor) -> Tensor:
        flat = maps.flatten(2)
        apart = torch.baddbmm(wanted, flat, flat.transpose(1, 2), beta=-1.0, alpha=1.0 / max(1, flat.shape[2]))
        context.save_for_backward(maps, apart)
        return apart.square().flatten(1).mean(1)

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        maps, apart = context.saved_tensors  # type: ignore[attr-defined]
        factor = 4.0 / max(1, maps[0].numel() * maps.shape[1])
        return _mixed(apart * (factor * grad)[:, None, None], maps), None


def _mixed(matrix: Tensor, maps: Tensor) -> Tensor:
    """Each position's channels of maps (B, C, H, W) times the symmetric matrix (B, C, C), in the maps' own order.

    In another order the gradient would be turned over, map by map, where it meets that of the network.
    """
    flat = maps.flatten(2)
    if maps.is_contiguous(memory_format=torch.channels_last):
        return (flat.transpose(1, 2) @ matrix).transpose(1, 2).reshape(maps.shape)
    return (matrix @ flat).reshape(maps.shape)


def loss_factor(convention: str, channels: int, positions: int) -> float:
    """What `gram_distance` is to be multiplied by to be the loss that others write down.

    With N channels, M positions and S the sum over positions of the products of channels:
    "gatys": sum (S - S')^2 / (4 N^2 M^2); "sum": sum (S - S')^2; "positions": S / M, summed squares; "elements":
    S / (N M), summed squares (what `gram_distance` is); "mean of elements": S / (N M), mean of squares. Both images
    must have M positions. Raises ConfigError for another name.
    """
    if convention not in _FACTORS:
        raise ConfigError(f"no Gram convention {convention!r}; there are: {', '.join(_FACTORS)}")
    return _FACTORS[convention](float(channels), float(positions))


# Layer weights of a paper mean nothing without its convention: they differ by up to N^2 M^2.
_FACTORS: Mapping[str, Callable[[float, float], float]] = {
    "gatys": lambda n, m: 0.25,
    "sum": lambda n, m: n * n * m * m,
    "positions": lambda n, m: n * n,
    "elements": lambda n, m: 1.0,
    "mean of elements": lambda n, m: 1.0 / (n * n),
}
