"""Which iterate of a sample is kept: one that reached the goal beats one that did not, these rules decide the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.core.norms import lengths
from advbench.core.projections import within
from advbench.types import Evaluation, ThreatModel


class Kept(NamedTuple):
    """The kept iterate of every sample: z (B, ...), its loss (B,) and whether it reached the goal (B,)."""

    z: Tensor
    loss: Tensor
    reached: Tensor


Keep = Callable[[Kept, Kept, Tensor], Tensor]  # (old, new, rows (A,)) -> (A,) bool: does new replace old?
Stop = Callable[[Kept], Tensor]  # the record of the rows at work -> (A,) bool: may this sample leave?


def keep_latest(old: Kept, new: Kept, rows: Tensor) -> Tensor:
    """The last one."""
    return torch.ones_like(new.reached)


def keep_strongest(old: Kept, new: Kept, rows: Tensor) -> Tensor:
    """The one with the lowest loss; the first of equals."""
    return new.loss < old.loss


def keep_nearest(x: Tensor, norm: float) -> Keep:
    """The nearest to x (B, ...) among those that reached the goal; the lowest loss before that."""

    def keep(old: Kept, new: Kept, rows: Tensor) -> Tensor:
        nearer = lengths(new.z - x[rows], norm) < lengths(old.z - x[rows], norm)
        return torch.where(new.reached, nearer, new.loss < old.loss)

    return keep


def nothing_kept(z: Tensor) -> Kept:
    """The start of the record: z itself, beaten by any evaluated iterate."""
    return Kept(z.clone(), z.new_full((len(z),), torch.inf), torch.zeros(len(z), dtype=torch.bool, device=z.device))


def when_reached(kept: Kept) -> Tensor:
    """Leave as soon as the goal is reached."""
    return kept.reached


def keep_better(
    kept: Kept, z: Tensor, evaluation: Evaluation, rows: Tensor, keep: Keep, *, late: Stop | None = None
) -> Kept:
    """The record (B, ...) after the iterates z (A, ...) of `rows` were seen; nothing adversarial is ever lost.

    late: the rule for leaving, where samples that may leave are carried along for a while: they keep what they have.
    """
    old = Kept(kept.z[rows], kept.loss[rows], kept.reached[rows])
    # A loss that is not a number is the worst there is: else nothing could beat it.
    loss = evaluation.loss.to(kept.loss.dtype).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    new = Kept(z, loss, evaluation.reached)
    first = torch.isinf(old.loss) & ~old.reached  # nothing seen yet
    better = (new.reached & ~old.reached) | ((new.reached == old.reached) & (first | keep(old, new, rows)))
    if late is not None:
        better = better & ~late(old)
    mixed = torch.where(better.reshape(-1, *[1] * (z.dim() - 1)), new.z, old.z)
    return Kept(
        kept.z.index_copy(0, rows, mixed),
        kept.loss.index_copy(0, rows, torch.where(better, new.loss, old.loss)),
        kept.reached.index_copy(0, rows, torch.where(better, new.reached, old.reached)),
    )


def best_of_copies(kept: Kept, count: int) -> tuple[Kept, Tensor]:
    """The best (B, ...) of the `count` copies of each sample, which are neighbours in the record; and which (B,) it is.

    One that reached the goal, else the one with the lowest loss; the first of equals.
    """
    which = torch.where(kept.reached, -torch.inf, kept.loss).reshape(-1, count).argmin(1)
    at = torch.arange(len(which), device=which.device) * count + which
    return Kept(*(part[at] for part in kept)), which


def near_enough(kept: Kept, x: Tensor, threat: ThreatModel) -> Tensor:
    """Has each sample (B,) an example inside the ball around x (B, ...)? Without a radius only x itself is near enough.

    When a minimum-norm attack may leave a sample alone; rows of `kept` and x must belong together.
    """
    eps = 0.0 if threat.eps is None else threat.eps
    return kept.reached & (lengths(kept.z - x, threat.norm) <= eps)


def nearest_found(kept: Kept, x: Tensor, threat: ThreatModel) -> Tensor:
    """What a minimum-norm attack returns: the kept example, x (B, ...) where there is none, moved into the ball."""
    z = torch.where(kept.reached.reshape(-1, *[1] * (x.dim() - 1)), kept.z, x)
    return within(threat, x)(z, torch.arange(len(x), device=x.device))
