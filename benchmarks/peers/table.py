"""docs/peers.md from the rows of `compare`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

OURS = "advbench"
DUEL = ["attack", "params", "norm", "eps", "n"]
MEASURED = ["robust", "median", "forwards", "backwards", "seconds"]
POINTS, SHARE = 0.2, 0.01  # what counts as weaker: more robust accuracy, a longer median distance

HEAD = """# Beside the peers

Written by `python -m benchmarks.peers.compare --table docs/peers.md`. Each attack and its rivals saw the same images
(those that the net classifies correctly among the first n), and one judge measured what they returned. *robust*: share
of the n images that hold, in percent; *median*: median distance of the examples, inf where most images hold; passes:
forwards + backwards per image. Rivals run with their own defaults except where the settings say otherwise. n = 200 x 5:
means of five runs with other random numbers. Seconds are wall time on a machine that did other things as well.

Where one run or 200 images left a doubt, more seeds or the first 1,000 images were taken, and only these are shown. The
median of 200 distances can lie in a gap: `fab` in l1 on mnist_lenet5_pgd_eps0.3 has 4.74 against 4.56 at 200, 4.48 with
other rounding, and 4.87 against 4.96 at 1,000. `square` in l2 on the same net holds 12.6 against 11.9 on the first 200
(seven seeds). `brendel_bethge` takes 40 % of foolbox's passes; in linf there, six starts and 2,000 steps give 0.338.

A run of Auto-PGD is luck by a point, up or down. From the same starts (`python -m benchmarks.peers.same_start`: linf
and l2, the first 200 images of the five nets, November 2026) our `apgd` and AutoAttack's own code differ in 3 of 3,636
verdicts (ce and dlr), our `apgd_t` and AutoAttack's in none of 1,818. In l1 ours spends no step on components that the
box holds back, and differs.

"""


def write_table(rows: pd.DataFrame, path: Path) -> None:
    """Write the page: where we stand, then a section per net with a line per duel and library."""
    rows = averaged(rows.assign(params=rows["params"].astype(str), eps=rows["eps"].astype(str)))
    nets = [(str(net), part) for net, part in rows.groupby("net", sort=False)]
    text = HEAD + "\n".join(_standing(nets)) + "\n" + "".join(_section(net, part) for net, part in nets)
    path.write_text(text)


def averaged(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per duel and library: means over its seeds, their number in `seeds`, the first error that there was."""
    rows = rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in MEASURED})
    parts = rows.groupby(["net", *DUEL, "library"], sort=False)
    means = parts[MEASURED].mean()
    return means.assign(seeds=parts.size(), error=parts["error"].max()).reset_index()


def gap(duel: pd.DataFrame) -> float:
    """How much weaker ours is than the best rival of a duel, in units of what is allowed; at most 1 is not weaker.

    With a radius, or where nobody breaks the half of the images: points of robust accuracy over POINTS. Else the share
    by which the median distance is longer over SHARE. nan where ours or every rival is missing or has no numbers.
    """
    medians = duel["median"]
    radius = bool(str(duel["eps"].iloc[0])) or math.isinf(medians.min())
    values = duel["robust"] if radius else medians
    ours, theirs = values[duel["library"] == OURS].min(), values[duel["library"] != OURS].min()
    if math.isnan(ours) or math.isnan(theirs):
        return math.nan
    if ours <= theirs:
        return 0.0
    return float((ours - theirs) / POINTS if radius else (ours / theirs - 1) / SHARE)


def _standing(nets: list[tuple[str, pd.DataFrame]]) -> Iterator[str]:
    """Per net how many duels ours has not lost, and each of those that it has."""
    yield "## Where ours is weaker"
    yield ""
    yield (
        f"Than its best rival: with a radius by over {POINTS:g} points of robust accuracy, without one by over "
        f"{SHARE:.0%} of the median distance."
    )
    yield ""
    yield "| net | duels | not weaker | weaker |"
    yield "|---|---|---|---|"
    for net, rows in nets:
        gaps = [(duel, gap(duel)) for _, duel in rows.groupby(DUEL, sort=False)]
        fought = [(duel, value) for duel, value in gaps if not math.isnan(value)]
        lost = [_lost(duel, value) for duel, value in fought if value > 1 + 1e-9]
        yield f"| {net} | {len(fought)} | {len(fought) - len(lost)} | {'; '.join(lost)} |"


def _lost(duel: pd.DataFrame, value: float) -> str:
    first = duel.iloc[0]
    points = first["eps"] or math.isinf(duel["median"].min())
    by = f"{value * POINTS:.1f} points" if points else f"{value * SHARE:.1%}"
    return f"`{first['attack']}`{' ' + first['params'] if first['params'] else ''} {first['norm']} by {by}"


def _section(net: str, rows: pd.DataFrame) -> str:
    lines = [
        "| attack | norm | eps | library | robust | median | forwards + backwards | seconds | n |",
        "|" + "---|" * 9,
    ]
    for _, duel in rows.groupby(DUEL, sort=False):
        lines += [_line(row) for _, row in duel.iterrows()]
    return f"\n## {net}\n\n" + "\n".join(lines) + "\n"


def _line(row: pd.Series) -> str:
    name = f"`{row['attack']}`" + (f" {row['params']}" if row["params"] else "")
    who = f"| {name} | {row['norm']} | {row['eps'] or 'nearest'} | {row['library']} |"
    if row.get("error"):
        return f"{who} {row['error']} | | | | {row['n']} |"
    passes = f"{float(row['forwards']):.0f} + {float(row['backwards']):.0f}"
    cells = [
        f"{float(row['robust']):.1f}",
        f"{float(row['median']):.4g}",
        passes,
        f"{float(row['seconds']):.1f}",
        str(row["n"]) + (f" x {row['seeds']}" if row["seeds"] > 1 else ""),
    ]
    return f"{who} " + " | ".join(cells) + " |"
