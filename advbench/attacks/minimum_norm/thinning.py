"""The end of a walk in l0: changed components of the nearest example, put back one at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.attacks.minimum_norm.approach import Sight


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
