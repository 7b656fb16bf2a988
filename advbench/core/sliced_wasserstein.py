"""Distance of two clouds of feature vectors by their shadows on random lines. Heitz et al. 2021, arXiv:2006.07229."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from advbench.core.draws import Draws


def random_directions(draws: Draws, channels: int, count: int, purpose: str, counter: int = 0) -> Tensor:
    """(B, count, channels): unit vectors, uniform on the sphere, for each sample its own."""
    return functional.normalize(draws.normal((count, channels), purpose, counter), dim=2)


def shadows(maps: Tensor, directions: Tensor) -> Tensor:
    """Feature vectors of maps (B, C, H, W) projected on directions (B, D, C) and sorted: (B, D, H W)."""
    projected = directions.to(maps) @ maps.flatten(2)
    return projected.sort(2).values


def shadow_distance(first: Tensor, second: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of sorted shadows (B, D, M) and (B, D, N), mean over the directions: (B,).

    Where M is not N, the second's quantiles are read off between its values.
    """
    return (first - resampled(second, first.shape[2])).square().mean((1, 2))


def resampled(values: Tensor, count: int) -> Tensor:
    """Sorted values (B, D, N) as `count` quantiles (B, D, count), at the middles of equal shares."""
    if values.shape[2] == count:
        return values
    return functional.interpolate(values, size=count, mode="linear", align_corners=False)


def sliced_wasserstein(first: Tensor, second: Tensor, directions: Tensor) -> Tensor:
    """Squared sliced 2-Wasserstein distance of the feature vectors of two maps (B, C, H, W), along directions: (B,).

    directions (B, D, C). 0 where one map is a permutation of the other's positions.
    """
    return shadow_distance(shadows(first, directions), shadows(second, directions))


def image_distance(first: Tensor, second: Tensor, *, directions: int = 32, seed: int = 0) -> Tensor:
    """`sliced_wasserstein` with `directions` random lines drawn from `seed`, the same for every sample: (B,)."""
    draws = Draws(seed, torch.zeros(len(first), dtype=torch.int64, device=first.device))
    return sliced_wasserstein(first, second, random_directions(draws, first.shape[1], directions, "distance"))
