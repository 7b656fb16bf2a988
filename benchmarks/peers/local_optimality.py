"""How near an attack comes to the best that a pool of attacks has found. Cina et al. 2025, AttackBench, AAAI."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]  # (n,) or (attacks, n): 0 for a clean error, inf where no example was found

RESAMPLES = 1000  # of the interval
LEVEL = 0.95


class Optimality(NamedTuple):
    """Local optimality, at most 1, with its bootstrap interval over the samples."""

    value: float
    low: float
    high: float


def local_optimality(distances: Distances, best: Distances) -> float:
    """1 where an attack is as near as the best of the pool on every sample, 0 where it finds nothing.

    distances (n,): the attack's; best (n,): the least over the pool, the attack included. The area under the robust
    accuracy from 0 to E, the largest finite best distance, is the mean of min(distance, E): robust accuracy is a step
    function. The result is 1 - (A - A*) / (clean accuracy * E - A*). Samples that nobody broke count as E on both
    sides. 1 if the pool leaves no room (every best distance is E). Raises ValueError if some distance is less than the
    best one or if the pool found no example.
    """
    if (distances < best).any():
        raise ValueError("the pool's best distance must not exceed the attack's: the attack belongs to the pool")
    if not _broken(best).any():
        raise ValueError("the pool found no example: the largest distance is not defined")
    return float(_local(distances[None], best[None])[0])


def with_interval(distances: Distances, best: Distances, *, seed: int = 0) -> Optimality:
    """`local_optimality` with the percentiles of RESAMPLES draws of n samples with replacement.

    Draws in which nobody broke a sample are left out. seed: of the draws.
    """
    return _with_percentiles(local_optimality(distances, best), _resampled(distances, best, seed))


def difference(one: Distances, other: Distances, best: Distances, *, seed: int = 0) -> Optimality:
    """Local optimality of `one` less that of `other` (both (n,)), with the interval of paired draws."""
    value = local_optimality(one, best) - local_optimality(other, best)
    return _with_percentiles(value, _resampled(one, best, seed) - _resampled(other, best, seed))


def _resampled(distances: Distances, best: Distances, seed: int) -> Distances:
    """Local optimality of draws of n samples with replacement, the same draws for every attack."""
    rows = np.random.default_rng(seed).integers(len(best), size=(RESAMPLES, len(best)))
    drawn = best[rows]
    usable = _broken(drawn).any(1)
    return _local(distances[rows][usable], drawn[usable])


def _with_percentiles(value: float, draws: Distances) -> Optimality:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Optimality(value, float(low), float(high))


def global_optimality(values: list[float]) -> float:
    """The mean of an attack's local optimality over the nets of one threat model."""
    if not values:
        raise ValueError("global optimality needs at least one net")
    return float(np.mean(values))


def _local(distances: Distances, best: Distances) -> Distances:
    """(R,) of (R, n)."""
    far = np.where(_broken(best), best, 0.0).max(1, keepdims=True)  # (R, 1)
    area, least = np.minimum(distances, far).mean(1), np.minimum(best, far).mean(1)
    room = (best > 0).mean(1) * far[:, 0] - least
    full = room <= 1e-12 * far[:, 0]
    return np.where(full, 1.0, 1.0 - (area - least) / np.where(full, 1.0, room)).clip(0.0, 1.0)  # but for rounding


def _broken(best: Distances) -> NDArray[np.bool_]:
    """Samples with an example that is not the sample itself."""
    return (best > 0) & np.isfinite(best)
