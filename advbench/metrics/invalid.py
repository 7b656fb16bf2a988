"""Results that the judge did not admit: they lie outside the ball or the box, whatever the model says of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from advbench.types import norm_name


class Invalid(NamedTuple):
    """Of n rows: how many are invalid, how many of these lie outside the ball and outside the box (or both).

    excess: by how much the largest distance exceeds its radius, in the threat's norm; 0 if none is known to.
    """

    n: int
    invalid: int
    ball: int
    box: int
    excess: float
    norm: str

    def __str__(self) -> str:
        by = f" (by up to {self.excess:.2g} in {self.norm})" if self.excess > 0 else ""
        counts = {f"outside the ball{by}": self.ball, "outside the box": self.box}
        places = ", ".join(f"{count:,} {where}" for where, count in counts.items() if count)
        return f"{self.invalid:,} of {self.n:,} results are invalid and count as held: {places}"


def invalid(table: pd.DataFrame, norm: float) -> Invalid | None:
    """The invalid ones among stored rows; None if there is none. A point that is not finite is outside of both."""
    rows = table[table["status"] == "invalid"]
    if not len(rows):
        return None
    outside = rows[~rows["in_ball"]]
    excess = float((outside[norm_name(norm)] - outside["eps"]).max())
    return Invalid(
        n=len(table),
        invalid=len(rows),
        ball=len(outside),
        box=int((~rows["in_box"]).sum()),
        excess=0.0 if math.isnan(excess) else excess,
        norm=norm_name(norm),
    )
