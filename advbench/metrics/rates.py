"""A share and its interval. Wilson 1927, doi:10.1080/01621459.1927.10502953."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from scipy.stats import binomtest


class Rate(NamedTuple):
    """value in [0, 1] (nan if n is 0), its interval [low, high], and the number of samples n behind it."""

    value: float
    low: float
    high: float
    n: int


@cache
def wilson(successes: int, n: int, confidence: float = 0.95) -> Rate:
    """The share successes / n with its Wilson score interval.

    No samples say nothing: the interval is then [0, 1]. Raises ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be between 0 and n = {n}, got {successes}")
    if n == 0:
        return Rate(math.nan, 0.0, 1.0, 0)
    value = successes / n
    interval = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    # At 0 and n the bound equals the share; rounding must not put the share outside its own interval.
    return Rate(value, min(float(interval.low), value), max(float(interval.high), value), n)
