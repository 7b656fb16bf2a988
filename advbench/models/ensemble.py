"""Several networks as one: the mean of their logits. Liu et al. 2017, arXiv:1611.02770."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MeanLogits(nn.Module):
    """Logits (B, K) averaged over `members`, each of which has its own normalisation inside."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)
