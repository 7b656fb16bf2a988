"""Do two rates on the same samples differ? McNemar 1947, doi:10.1007/BF02295996; Holm 1979, Scand. J. Statist. 6."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import pandas as pd
from scipy.stats import binomtest

Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval
LEAST_DISCORDANT = 6  # with fewer, p is 2 / 2 ** 5 = 0.0625 at best


class Paired(NamedTuple):
    """Two verdicts on n common samples. first, second: samples that hold in that one alone; p: exact, two-sided.

    difference: rate of the first minus rate of the second, in [-1, 1], with its approximate 95 % interval [low, high],
    for this pair alone: it is not corrected for the number of pairs.
    """

    n: int
    first: int
    second: int
    p: float
    difference: float
    low: float
    high: float

    @property
    def discordant(self) -> int:
        return self.first + self.second


def paired(first: pd.Series[bool], second: pd.Series[bool]) -> Paired:
    """McNemar's exact test of two verdicts (bool, index sample_id) on the samples that both have.

    Under the hypothesis of equal rates a discordant sample falls on either side like a coin; samples on which the two
    agree say nothing. The interval is Wald's for paired shares with half a sample more in each of the four cells
    (Agresti and Min 2005, doi:10.1002/sim.1781), so that it has a width where nothing differs. Without common samples:
    p = 1, difference nan.
    """
    common = first.index.intersection(second.index)
    one, two = first.loc[common], second.loc[common]
    return _tested(int((one & ~two).sum()), int((two & ~one).sum()), len(common))


@cache
def _tested(only_first: int, only_second: int, n: int) -> Paired:
    if not n:
        return Paired(0, 0, 0, 1.0, math.nan, -1.0, 1.0)
    discordant = only_first + only_second
    p = float(binomtest(min(only_first, only_second), discordant, 0.5).pvalue) if discordant else 1.0
    gap = only_first - only_second
    more = n + 2
    half = Z * math.sqrt(discordant + 1 - gap**2 / more) / more
    return Paired(n, only_first, only_second, p, gap / n, max(-1.0, gap / more - half), min(1.0, gap / more + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values after Holm's correction, in the given order: each rejects at 5 % if it is below 0.05, and the
    chance of any false rejection among them is at most 5 %.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
