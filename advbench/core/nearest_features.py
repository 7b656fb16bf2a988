"""Nearest feature matching: how far each feature vector is from the nearest of another image. arXiv:2206.06360."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CELLS = 1 << 24  # similarities held at a time: 64 MiB


def nearest_features(maps: Tensor, others: Tensor) -> Tensor:
    """Mean over positions of the smallest cosine distance to a vector of the other map: (B,), from 0 to 2.

    maps (B, C, H, W), others (B, C, h, w). 0 where every vector points like some vector of the other map. Which one is
    nearest is held fixed in the gradient. Zhang et al. 2022, arXiv:2206.06360, equation 1.
    """
    mine = functional.normalize(maps.flatten(2), dim=1)  # (B, C, M)
    theirs = functional.normalize(others.flatten(2), dim=1)  # (B, C, N)
    index = _nearest(mine.detach(), theirs)
    chosen = theirs.gather(2, index[:, None].expand(-1, theirs.shape[1], -1))
    return (1.0 - (mine * chosen).sum(1)).mean(1)


def _nearest(mine: Tensor, theirs: Tensor) -> Tensor:
    """Index (B, M) of the most similar unit vector of theirs (B, C, N) to each of mine (B, C, M)."""
    share = max(1, _CELLS // max(1, len(mine) * theirs.shape[2]))
    with torch.no_grad():
        parts = [(part.transpose(1, 2) @ theirs).argmax(2) for part in torch.split(mine, share, dim=2)]
    return torch.cat(parts, dim=1)
