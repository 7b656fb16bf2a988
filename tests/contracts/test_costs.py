"""What an attack declares to cost is what it costs at most, with its defaults, on a sample that holds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from math import inf

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.models.watch import Watched
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import ThreatModel

FEW = 60  # queries, where an attack has a cap on them
LONG = 2500  # passes; what declares more takes too long here, unless a cap shortens it
DECLARED = [
    entry
    for entry in ATTACKS
    if entry.info.cost is not None and (sum(entry.info.cost) <= LONG or entry.info.access in ("scores", "decision"))
]
CLASSES = 10
# Parameters without a default.
REQUIRED: dict[str, Callable[[nn.Module], Mapping[str, object]]] = {
    "transfer": lambda model: {"substitute": copy.deepcopy(model)},
    "bpda": lambda model: {"module": "inside"},
}


class Firm(nn.Module):
    """Class 0 everywhere, by a lead that a gradient can lower a little; or, with `gives_way`, up to the grey images."""

    def __init__(self, gives_way: bool) -> None:
        super().__init__()
        weight = torch.randn(CLASSES, 12, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(0.1 * weight)
        self.inside = nn.Identity()
        self.lead = 0.02 if gives_way else 50.0

    def forward(self, x: Tensor) -> Tensor:
        logits = (self.inside(x).flatten(1) - 0.4) @ self.weight.T
        logits = logits + (x.flatten(1) - 0.4).square().sum(1, keepdim=True) * torch.linspace(0, 0.1, CLASSES)
        lead = torch.zeros(CLASSES)
        lead[0] = self.lead
        return logits + lead


@pytest.mark.slow
@pytest.mark.parametrize("entry", DECLARED, ids=[entry.name for entry in DECLARED])
def test_no_sample_costs_more_than_declared(entry: Entry[AttackInfo]) -> None:
    norm = max(entry.info.norms)
    radius = {0.0: 2.0, 1.0: 0.05, 2.0: 0.02, inf: 0.01}[norm]
    threat = ThreatModel(norm, radius if entry.info.needs_radius else None)
    for gives_way in (False, True) if entry.info.minimum_norm else (False,):
        model = Firm(gives_way).eval()
        x = torch.full((2, 3, 2, 2), 0.4) + torch.tensor([0.0, 0.003]).reshape(2, 1, 1, 1)
        watched = Watched(model, torch.zeros(2, dtype=torch.int64))
        params = dict(REQUIRED[entry.name](model)) if entry.name in REQUIRED else {}
        limit = entry.info.cost or (0, 0)
        if "queries" in entry.parameters() and entry.info.access != "gradient":
            least = 2 * int(entry.parameters()["population"].default) if "population" in entry.parameters() else FEW
            params, limit = params | {"queries": least}, (least, 0)
        entry.function(watched, x, torch.zeros(2, dtype=torch.int64), threat, draws=Draws(0, torch.arange(2)), **params)
        forwards, backwards = (int(passes.max()) for passes in watched.passes())
        assert forwards <= limit[0], "forward passes"
        assert backwards <= limit[1], "backward passes"
