"""The end of a walk in l0: changed components of the nearest example, put back one at a time, or two for another."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.attacks.minimum_norm.approach import Sight
from advbench.types import ThreatModel


def thinned(sight: Sight, tried: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest example (A, ...) with one changed component as in x, and tried (A, ...) bool with it marked.

    It is the least changed of those that tried does not mark; once all are marked, they are tried again. Where nothing
    was found, the example is the point of lowest loss.
    """
    size, marked = (sight.best - sight.x).abs().flatten(1), tried.flatten(1)
    changed = size > 0
    again = ~(changed & ~marked).any(1, keepdim=True)  # (A, 1)
    marked = marked & ~again
    least = size.masked_fill(marked | ~changed, torch.inf).argmin(1, keepdim=True)  # (A, 1)
    z = sight.best.flatten(1).scatter(1, least, sight.x.flatten(1).gather(1, least))
    return z.reshape(sight.z.shape), marked.scatter(1, least, True).reshape(tried.shape)


def swapped(sight: Sight, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """What to try after a z (A, ...) that lacks one component of the nearest example and fails; (A,) where that is so.

    By the gradient at z: the changed components go to those ends of the box that lower the loss, but the one that does
    least for it goes back to x, and of the unchanged ones the one that would do most goes to its end.
    """
    z, x, grad = (part.flatten(1) for part in (sight.z, sight.x, sight.grad))
    changed, before = z != x, (sight.best != sight.x).flatten(1)
    ends = torch.where(grad < 0, threat.high, threat.low).to(z.dtype)
    pushed = torch.where(changed & (grad != 0), ends, z)
    least = (grad * (x - pushed)).masked_fill(~changed, torch.inf).argmin(1, keepdim=True)
    most = (grad * (x - ends)).masked_fill(before, -torch.inf).argmax(1, keepdim=True)
    other = pushed.scatter(1, least, x.gather(1, least)).scatter(1, most, ends.gather(1, most))
    lacks_one = (changed & ~before).sum(1).eq(0) & (changed.sum(1) == before.sum(1) - 1) & changed.any(1)
    return other.reshape(sight.z.shape), sight.found & ~sight.reached & lacks_one
