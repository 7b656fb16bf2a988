"""Robust accuracy against passes: how much of its budget an attack needed, read off one run."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from advbench.metrics.rates import Rate, wilson
from advbench.metrics.robust import SLACK, applicable, broken, nearest_error

# What a carried row has in common with the row that its example came from.
SAME_EXAMPLE = ["sample_id", "l0", "l1", "l2", "linf"]
REPEATED = ("carried", "nested")  # evidence of rows whose samples were not attacked at that radius


def passes_to_error(table: pd.DataFrame, norm: float, eps: float) -> pd.Series[float]:
    """Per sample_id: the passes (forward plus backward) after which its error at radius eps was found, whole numbers.

    0 for a clean error, inf for a sample that held. The passes at a first success are the forward passes up to it with
    their share of the backward passes of the run. An example that the attack never showed to the model (a single step,
    a transferred one) counts at the passes of the whole run, a carried one where it was found. Rows without a radius
    know when the first error at any distance was found (eps inf); within a finite eps they count at the whole run.
    Samples that the goal does not apply to are left out. Raises ValueError if the rows do not have eps.
    """
    every = applicable(table)
    rows = _at(every, eps)
    cost = _own_cost(rows)
    if rows["eps"].isna().all():
        nearest = nearest_error(rows, norm).loc[rows["sample_id"]].to_numpy()
        lost = pd.Series(nearest <= eps * (1 + SLACK) if eps < math.inf else nearest < math.inf, index=rows.index)
        if eps < math.inf:
            cost = rows["forwards"] + rows["backwards"]
    else:
        lost = broken(rows)
        cost = _found_elsewhere(every, rows).fillna(cost)
    passes = cost.where(lost, math.inf).where(rows["clean_correct"], 0.0)
    return passes.astype(float).set_axis(pd.Index(rows["sample_id"], name="sample_id")).sort_index()


def longest_run(table: pd.DataFrame, eps: float) -> int:
    """The most passes that a sample took in the run at radius eps; 0 if none was attacked there."""
    rows = _at(applicable(table), eps)
    ran = rows[~rows["evidence"].isin(REPEATED)]
    return int((ran["forwards"] + ran["backwards"]).max()) if len(ran) else 0


def robust_after(passes: pd.Series[float], budget: float) -> Rate:
    """Robust accuracy with its interval if the attack had stopped after `budget` passes per sample."""
    return wilson(int((passes > budget).sum()), len(passes))


def budget_steps(passes: pd.Series[float]) -> tuple[tuple[float, float], ...]:
    """The corners (passes, share of the samples still robust from there on) of a step curve; the first is at 0."""
    finite, falls = np.unique(passes[passes < math.inf].to_numpy(), return_counts=True)
    left = (len(passes) - falls.cumsum()) / max(1, len(passes))
    corners = {0.0: 1.0} | dict(zip(finite.tolist(), left.tolist(), strict=True))
    return tuple(corners.items())


def _at(table: pd.DataFrame, eps: float) -> pd.DataFrame:
    if table["eps"].isna().all():
        return table
    rows = table[(table["eps"] - eps).abs() <= SLACK * eps]
    if len(rows) != table["sample_id"].nunique():
        raise ValueError(f"eps {eps} asked for, the rows have {sorted(table['eps'].unique().tolist())}")
    return rows


def _own_cost(rows: pd.DataFrame) -> pd.Series[float]:
    """The passes of each row at its first success; of all its passes if the attack saw none."""
    forwards, backwards, seen = rows["forwards"], rows["backwards"], rows["first_success_step"] + 1
    # Whole numbers until the division: a share of 41 backwards over 41 forwards stays exact.
    share = -(-seen * (forwards + backwards) // forwards.clip(lower=1))
    return share.where(seen > 0, forwards + backwards).astype(float)


def _found_elsewhere(every: pd.DataFrame, rows: pd.DataFrame) -> pd.Series[float]:
    """For each carried row the passes of the row that found its example; nan for the others."""
    ran = every[every["fooled"] & ~every["evidence"].isin(REPEATED)]
    found = ran.assign(cost=_own_cost(ran)).groupby(SAME_EXAMPLE)["cost"].min()
    carried = rows[rows["evidence"] == "carried"]
    cost = found.reindex(pd.MultiIndex.from_frame(carried[SAME_EXAMPLE])).to_numpy()
    return pd.Series(cost, index=carried.index, dtype=float).reindex(rows.index)
