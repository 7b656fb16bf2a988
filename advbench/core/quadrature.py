"""Numerical integration over [0, 1]: where to look, and how much each place counts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def gauss_legendre(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes (count,) in (0, 1) and weights (count,) that sum to 1, with the type and device of `like`.

    Exact for polynomials of degree 2 count - 1. Raises ValueError if count < 1.
    """
    if count < 1:
        raise ValueError(f"gauss_legendre: count must be at least 1, got {count}")
    nodes, weights = _on_the_unit_interval(count)
    return nodes.to(like), weights.to(like)


@lru_cache(maxsize=16)
def _on_the_unit_interval(count: int) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((nodes + 1.0) / 2.0), torch.from_numpy(weights / weights.sum())
