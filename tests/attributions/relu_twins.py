"""One network written in five ways: ReLU as modules, functions, in place, as one module used twice and as a clamp."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Twin(nn.Module):
    """conv, ReLU, max pooling, conv, ReLU, linear on 1 x 8 x 8 images; `way` says how the ReLU is called."""

    def __init__(self, way: str) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.first, self.second = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 5, 2)
            self.head = nn.Linear(20, 4)
        self.relu = nn.ReLU(inplace=way == "reused in place")
        self.other = nn.ReLU()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        maps = functional.max_pool2d(self.activate(self.first(x)), 2)
        scores: Tensor = self.head(self.activate(self.second(maps), again=True).flatten(1))
        return scores

    def activate(self, maps: Tensor, again: bool = False) -> Tensor:
        if self.way == "function":
            return functional.relu(maps)
        if self.way == "underscore":
            return torch.relu_(maps)
        if self.way == "method":
            return maps.relu()
        if self.way == "clamp_min":
            return maps.clamp_min(0)
        found: Tensor = self.other(maps) if again and self.way == "modules" else self.relu(maps)
        return found


WAYS = ("modules", "function", "underscore", "method", "reused", "reused in place", "clamp_min")


def twin(way: str) -> Twin:
    """In eval mode, float64."""
    return Twin(way).double().eval()


def pictures(count: int = 4) -> Tensor:
    """(count, 1, 8, 8) float64."""
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
