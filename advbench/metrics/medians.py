"""A median distance and its interval, from order statistics: no distribution is assumed.

Thompson 1936, Annals of Mathematical Statistics 7, page 122; Conover 1999, Practical Nonparametric Statistics,
section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.stats import binom


class Median(NamedTuple):
    """value in [0, inf] (nan if n is 0), its interval [low, high], and the number of samples n behind it.

    inf is a distance that no attack reached: where half of the samples or more hold, the median itself.
    """

    value: float
    low: float
    high: float
    n: int


def median(distances: Iterable[float], confidence: float = 0.95) -> Median:
    """The median of distances in [0, inf] with the narrowest symmetric pair of order statistics around it.

    A sample falls below the population's median with probability 1/2 whatever the distribution, so the number that do
    is binomial, and the k-th smallest and the k-th largest distance enclose the median with at least the probability
    `confidence` for the k that the binomial gives. With fewer than six samples no pair does at 95 %, and the interval
    is [0, inf]: they say nothing. Raises ValueError for a distance below 0 or nan, and for a confidence outside (0, 1).
    """
    ordered = np.sort(np.fromiter(distances, dtype=np.float64))
    n = len(ordered)
    if n == 0:
        return Median(math.nan, 0.0, math.inf, 0)
    if not (ordered >= 0).all():
        raise ValueError(f"distances must be at least 0, got {ordered[~(ordered >= 0)][0]}")
    k = _rank(n, confidence)
    low, high = (float(ordered[k - 1]), float(ordered[n - k])) if k else (0.0, math.inf)
    return Median(float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2, low, high, n)


@cache
def _rank(n: int, confidence: float) -> int:
    """The largest k with P(fewer than k of n below the median) at most (1 - confidence) / 2; 0 if there is none."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    tail = (1 - confidence) / 2
    return int((binom.cdf(np.arange(n), n, 0.5) <= tail).sum())
