"""Robust accuracy from stored rows: per radius, in the worst case over attacks, and as a distance.

A sample holds at a radius if it was classified correctly at x and no admissible x_adv changed that. A targeted attack
that misses its target but changes the class has still found an error, so the sample is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from advbench.metrics.medians import Median, median
from advbench.metrics.rates import Rate, wilson
from advbench.types import norm_name

# Distances are stored in float64 of float32 images: a point on the sphere may lie outside by rounding.
SLACK = 1e-6


def broken(table: pd.DataFrame) -> pd.Series[bool]:
    """Per stored row: was the model wrong at x, or wrong at an x_adv inside the ball and the box?"""
    admissible = table["in_ball"] & table["in_box"]
    return ~table["clean_correct"] | table["fooled"] | (admissible & (table["adv_pred"] != table["label"]))


def applicable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the samples that the goal applies to: an attack towards class 3 has nothing to do on a 3."""
    return table[table["status"] != "not_applicable"]


def nearest_error(table: pd.DataFrame, norm: float) -> pd.Series[float]:
    """Per sample_id: the distance in `norm` of the nearest error found; 0 for a clean error, inf if none was found."""
    distance = table[norm_name(norm)].where(broken(table), math.inf).where(table["clean_correct"], 0.0)
    return distance.groupby(table["sample_id"]).min()


def verdicts(table: pd.DataFrame, norm: float, grid: Sequence[float] = ()) -> pd.DataFrame:
    """Which samples held at which radius: bool, index sample_id, columns eps in increasing order.

    Samples that the attack does not apply to held, unless they are clean errors: so a worst case counts them. Leave
    them out with `applicable` for the accuracy under this attack alone.
    Rows of a minimum-norm attack (eps is nan) are read at each radius of `grid`: lost if the nearest error is within
    it; with an empty grid the one column is inf (any distance). Rows with an eps are read as they stand, and `grid`
    selects among their radii. Raises ValueError if a radius of `grid` was not run.
    """
    if table["eps"].isna().all():
        nearest = nearest_error(table, norm)
        radii = sorted(grid) or [math.inf]
        beyond = {eps: (nearest > eps * (1 + SLACK)) if eps < math.inf else nearest == math.inf for eps in radii}
        return pd.DataFrame(beyond, index=nearest.index)
    held: pd.DataFrame = (~broken(table)).groupby([table["sample_id"], table["eps"]]).all().unstack("eps")
    if held.isna().any(axis=None):
        raise ValueError("the rows do not cover every sample at every eps")
    if not grid:
        return held.astype(bool)
    stored = held.columns.to_numpy(dtype=float)
    position = [int(np.abs(stored - eps).argmin()) for eps in sorted(grid)]
    if not np.allclose(stored[position], sorted(grid), rtol=SLACK, atol=0):
        raise ValueError(f"eps {sorted(grid)} asked for, the rows have {stored.tolist()}")
    return held.iloc[:, position].set_axis(sorted(grid), axis=1).astype(bool)


def worst_case(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Which samples held against every attack: the conjunction of `verdicts` over the radii that all of them have.

    Per sample, so it is at most the smallest robust accuracy. Raises ValueError if there is no frame, or if the
    attacks saw different samples: a sample counts as robust only if every attack ran on it.
    """
    every = list(frames)
    if not every:
        raise ValueError("the worst case over no attack is not defined")
    first = every[0]
    for other in every[1:]:
        if not first.index.equals(other.index):
            raise ValueError("the attacks saw different samples; a worst case per sample needs the same ones")
        shared = [eps for eps in first.columns if eps in other.columns]
        first = first[shared] & other[shared]
    return first


def rates(held: pd.DataFrame) -> dict[float, Rate]:
    """Robust accuracy with its interval per radius, from `verdicts` or `worst_case`."""
    return {float(eps): wilson(int(held[eps].sum()), len(held)) for eps in held.columns}


def robust_accuracy(table: pd.DataFrame, norm: float, grid: Sequence[float] = ()) -> dict[float, Rate]:
    """Robust accuracy with its interval per radius, from the stored rows of one attack."""
    return rates(verdicts(applicable(table), norm, grid))


def clean_accuracy(table: pd.DataFrame) -> Rate:
    """Share of the samples that are classified correctly without any attack."""
    correct = table.groupby("sample_id")["clean_correct"].first()
    return wilson(int(correct.sum()), len(correct))


def median_distance(table: pd.DataFrame, norm: float) -> Median:
    """Median over the samples of the distance to the nearest error, with its 95 % interval.

    A clean error is at 0, and a sample that held at inf: so is the median if half of them did.
    """
    return median(nearest_error(applicable(table), norm))
