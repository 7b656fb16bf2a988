"""Attacks that followed gradients which were not there: a model that holds for that reason may well not be robust.

Shattered and vanishing gradients: Athalye et al. 2018, arXiv:1802.00420, sections 2.1 and 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

LEAST_SHARE = 0.5  # beyond it a robust accuracy is about missing gradients before it is about the model
ADVICE = (
    "If a module cuts the gradient (detach, rounding, argmax, a threshold), give its name to bpda (module=...); if "
    "logits saturate, take a loss on the margin (apgd_t, max_margin); or use an attack that needs no gradient: square "
    "(sees scores), hop_skip_jump (sees decisions)"
)


class Blind(NamedTuple):
    """Of how many samples an attack asked the gradient, and for how many of them it never got one other than zero.

    which: "held", or "were attacked" where the result is a distance.
    """

    blind: int
    asked: int
    which: str

    def __str__(self) -> str:
        if self.blind == self.asked:
            return (
                f"no gradient ever reached x on any of the {self.asked:,} samples that {self.which}: this is no sign "
                "of robustness"
            )
        return (
            f"on {self.blind:,} of the {self.asked:,} samples that {self.which} ({self.blind / self.asked:.0%}) the "
            "gradient was exactly zero at every step: there this is no sign of robustness"
        )


def blind(table: pd.DataFrame) -> Blind | None:
    """What stored rows at one eps say about missing gradients; None unless more than half of the samples met none.

    Only samples that held count: the others were decided, perhaps before a gradient was needed. Without a radius (eps
    is nan) all that were attacked count, because then the distance is the result.
    """
    if "blind" not in table:  # stored before there was this column
        return None
    nearest = table["eps"].isna()
    result = table["clean_correct"] & (~table["fooled"] | nearest)
    missed = int((result & table["blind"]).sum())
    asked = int((result & (table["blind"] | (table["backwards"] > 0))).sum())
    which = "were attacked" if nearest.any() else "held"
    return Blind(missed, asked, which) if missed > LEAST_SHARE * asked else None
