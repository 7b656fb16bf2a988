"""Closed-form answers that tests compare with: chances of random perturbations on the far side of a hyperplane.

The linear models themselves, with their nearest adversarial examples, are in `advbench.testing.oracles`.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from scipy import integrate, special, stats
from torch import Tensor

from advbench.core.draws import Draws
from advbench.testing import LinearProblem


def cap_share(size: int, ratio: float) -> float:
    """Share of the unit sphere in R^size beyond a hyperplane at distance `ratio` from its centre."""
    return 0.0 if ratio >= 1.0 else 0.5 * float(special.betainc((size - 1) / 2, 0.5, 1.0 - ratio**2))


def ball_cap_share(size: int, ratio: float) -> float:
    """The same for the ball: a ball is the shadow of a sphere two dimensions up (Archimedes)."""
    return cap_share(size + 2, ratio)


def corner_share(weight: Tensor, gap: float) -> float:
    """Share of the sign vectors s with <weight (D,), s> > gap, by counting all 2^D of them."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=len(weight))), dtype=torch.float64)
    return float((signs @ weight.double() > gap).double().mean())


def shortened_gaussian_share(size: int, eps: float, distance: float) -> float:
    """Chance that Gaussian noise of standard deviation eps / sqrt(size), cut to length eps, passes `distance`."""
    deviation = eps / math.sqrt(size)

    def share_at(length: float) -> float:
        reached = min(length, eps)
        return float(stats.chi.pdf(length / deviation, size)) / deviation * cap_share(size, distance / reached)

    below, _ = integrate.quad(share_at, distance, eps, limit=200)
    return below + float(stats.chi.sf(math.sqrt(size), size)) * cap_share(size, distance / eps)


def agrees_with(share: float, hits: Tensor) -> bool:
    """Is the mean of hits (N,) bool what chance `share` gives? False wrongly about once in 10,000."""
    return bool(stats.binomtest(int(hits.sum()), len(hits), min(max(share, 0.0), 1.0)).pvalue > 1e-4)


def copies(problem: LinearProblem, count: int) -> LinearProblem:
    """`count` copies of the first sample, each with random numbers of its own."""
    return LinearProblem(
        problem.model,
        problem.x[:1].expand(count, *problem.x.shape[1:]),
        problem.y[:1].expand(count),
        Draws(problem.draws.seed, torch.arange(count)),
    )


def normal_of(problem: LinearProblem) -> Tensor:
    """The direction (D,) float64 from the first sample's class of a two-class problem to the other."""
    weight = problem.model.weight.detach()
    here = int(problem.y[0])
    return weight[1 - here] - weight[here]


def unit_directions(size: int, count: int, seed: int) -> Tensor:
    """(count, size) float64, uniform on the unit sphere, from numpy's generator and not from ours."""
    g = np.random.default_rng(seed).standard_normal((count, size))
    return torch.from_numpy(g / np.linalg.norm(g, axis=1, keepdims=True))
