"""What a rule that stops early may have cost: read off the samples on which the full attack was run all the same."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from scipy.stats import beta


class Audit(NamedTuple):
    """Of n samples: how many a rule declared robust, how many such were audited, how many of these then fell.

    bound: upper 95 % limit for the share of the n samples that the rule wrongly declared robust.
    """

    n: int
    decided: int
    audited: int
    overturned: int
    bound: float

    def __str__(self) -> str:
        found = f"{self.decided} of {self.n} decided early; of {self.audited} audited, {self.overturned} fell"
        return f"{found}: at most {100 * self.bound:.2f} points too robust (95 %)"


def audit(table: pd.DataFrame) -> Audit | None:
    """The audit of stored rows at one eps; None if no rule was at work.

    The audited are a random part of those that the rule declares robust, and they were attacked to the end: what fell
    there counts as fallen. So only the others can be wrong, at most at the rate that Clopper and Pearson 1934
    (doi:10.1093/biomet/26.4.404) give from the audited.
    """
    decided, audited = (int((table["evidence"] == word).sum()) for word in ("decided", "audited"))
    if decided + audited == 0:
        return None
    overturned = int(table["fooled"][table["evidence"] == "audited"].sum())
    rate = 1.0 if overturned == audited else float(beta.ppf(0.95, overturned + 1, audited - overturned))
    return Audit(len(table), decided, audited, overturned, rate * decided / len(table))
