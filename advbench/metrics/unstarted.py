"""Attacks that need an example to begin with and found none: what they left alone counts as held all the same."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Unstarted(NamedTuple):
    """Of n samples: for how many the search never began."""

    unstarted: int
    n: int

    def __str__(self) -> str:
        return (
            f"for {self.unstarted:,} of {self.n:,} samples no example was found to begin with, neither among random "
            "images nor among the given `starts`, if any; they count as held, which is no sign of robustness: in "
            "Python, starts=... takes images that meet the goal"
        )


def unstarted(table: pd.DataFrame) -> Unstarted | None:
    """What stored rows at one eps say about searches that never began; None if all did."""
    count = int((table["evidence"] == "unstarted").sum())
    return Unstarted(count, len(table)) if count else None
