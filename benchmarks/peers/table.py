"""docs/peers.md from the rows of `compare`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

HEAD = """# Beside the peers

Written by `python -m benchmarks.peers.compare --table docs/peers.md`. Each attack and its rivals saw the same images
(those that the net classifies correctly among the first n), and one judge measured what they returned. *robust*: share
of the n images that hold, in percent; *median*: median distance of the examples, inf where most images hold; passes:
forwards + backwards per image. Rivals run with their own defaults except where the settings say otherwise.
"""


def write_table(rows: pd.DataFrame, path: Path) -> None:
    """Write the page: a section per net, a line per duel and library."""
    rows = rows.assign(params=rows["params"].astype(str), eps=rows["eps"].astype(str))
    sections = [_section(str(net), part) for net, part in rows.groupby("net", sort=False)]
    path.write_text(HEAD + "".join(sections))


def _section(net: str, rows: pd.DataFrame) -> str:
    lines = [
        "| attack | norm | eps | library | robust | median | forwards + backwards | seconds | n |",
        "|" + "---|" * 9,
    ]
    order = ["attack", "params", "norm", "eps"]
    for _, duel in rows.groupby(order, sort=False):
        lines += [_line(row) for _, row in duel.iterrows()]
    return f"\n## {net}\n\n" + "\n".join(lines) + "\n"


def _line(row: pd.Series) -> str:  # type: ignore[type-arg]
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
        str(row["n"]),
    ]
    return f"{who} " + " | ".join(cells) + " |"
