"""From the stored rows of a cell to its row per eps: what `cell.json`, `export` and `verify` agree on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from advbench.metrics.audit import audit
from advbench.metrics.blind import blind
from advbench.metrics.invalid import invalid
from advbench.metrics.rates import wilson
from advbench.metrics.robust import applicable, broken, median_distance
from advbench.metrics.unstarted import unstarted
from advbench.types import Json, Radius, norm_of

COLUMNS = (
    "model", "defense", "attack", "goal", "norm", "eps", "n", "clean_accuracy", "robust_accuracy", "ci_low", "ci_high",
    "median_distance", "forwards", "backwards", "queries", "seconds", "status", "median_low", "median_high",
)  # fmt: skip
LATER = COLUMNS[-2:]  # results stored before the median had an interval lack these
# Keys that a row has where there is something to beware of, each a sentence. They are no columns of an export.
NOTES = ("audit", "invalid", "blind", "unstarted")


def summarise(
    table: pd.DataFrame, *, labels: Mapping[str, str], eps: Sequence[str] | None, seconds: float
) -> list[dict[str, Json]]:
    """A row of COLUMNS per eps as written ("8/255"), or one row with eps None for a minimum-norm attack.

    Shares are in [0, 1], ci_low and ci_high the 95 % Wilson interval of robust_accuracy; median_distance is that over
    all samples in the threat's norm, clean errors at 0, median_low and median_high its 95 % interval from order
    statistics (each None where it is beyond every error found); forwards, backwards, queries are means per sample;
    seconds are those of the whole cell, whose grid is one run. Samples that the attack does not apply to are not part
    of n. Where there is something to beware of, the row has a key of NOTES more, in words. audit: what a rule that
    stopped early may have cost. invalid: results outside of the ball or the box. blind: samples that held and never
    got a gradient. unstarted: samples that held because the search never began.
    """
    return [_row(_at(table, text), labels, text, seconds) for text in (eps if eps is not None else [None])]


def blank(labels: Mapping[str, str], eps: Sequence[str] | None, status: str) -> list[dict[str, Json]]:
    """The rows of a cell without a result: everything empty but its names, its eps and its status."""
    empty: dict[str, Json] = dict.fromkeys(COLUMNS)
    return [empty | dict(labels) | {"eps": text, "status": status} for text in (eps if eps is not None else [None])]


def _at(table: pd.DataFrame, eps: str | None) -> pd.DataFrame:
    rows = table if eps is None else table[table["eps"] == float(Radius(eps))]
    return applicable(rows)


def _row(rows: pd.DataFrame, labels: Mapping[str, str], eps: str | None, seconds: float) -> dict[str, Json]:
    lost = broken(rows)
    robust = wilson(int((~lost).sum()), len(rows))
    norm = norm_of(labels["norm"])
    notes = dict(zip(NOTES, (audit(rows), invalid(rows, norm), blind(rows), unstarted(rows)), strict=True))
    distance = median_distance(rows, norm)
    return {
        **{name: labels[name] for name in ("model", "defense", "attack", "goal", "norm")},
        "eps": eps,
        "n": len(rows),
        "clean_accuracy": _mean(rows["clean_correct"]),
        "robust_accuracy": robust.value if len(rows) else None,
        "ci_low": robust.low,
        "ci_high": robust.high,
        "median_distance": _finite(distance.value),
        **{name: _mean(rows[name]) for name in ("forwards", "backwards", "queries")},
        "seconds": round(seconds, 3),
        "status": "done",
        "median_low": _finite(distance.low),
        "median_high": _finite(distance.high),
        **{name: str(found) for name, found in notes.items() if found is not None},
    }


def _finite(distance: float) -> float | None:
    return distance if math.isfinite(distance) else None


def _mean(column: pd.Series[float] | pd.Series[bool] | pd.Series[int]) -> float | None:
    return float(column.mean()) if len(column) else None
