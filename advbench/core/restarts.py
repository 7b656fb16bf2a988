"""Several runs for one sample: whoever has been fooled sits out the rest."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from advbench.core.gradients import attending
from advbench.core.keep import Kept, keep_better, keep_strongest
from advbench.types import Evaluation

Run = Callable[[Tensor, int], Kept]  # (positions (A,) of the samples that take part, turn) -> their record (A, ...)


def in_turns(kept: Kept, turns: int, run: Run, *, survivors_only: bool = True) -> Kept:
    """The record (B, ...) after `turns` runs, each for the samples that survived all before it.

    The lowest loss is kept, an adversarial point before any other. With survivors_only False all samples take part in
    every run. Inside of a run, rows are positions among the samples that take part.
    """
    for turn in range(turns):
        left = (~kept.reached | (not survivors_only)).nonzero()[:, 0]
        if not len(left):
            break
        with attending(left):
            found = run(left, turn)
        kept = keep_better(kept, found.z, Evaluation(found.loss, found.reached), left, keep_strongest)
    return kept
