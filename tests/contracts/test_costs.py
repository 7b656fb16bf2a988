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


def _attacked(entry: Entry[AttackInfo], watched: Watched, least: int, params: Mapping[str, object]) -> None:
    """Run the attack on two samples of class 0 that nearly tie; with `least` queries if it has a cap on them."""
    norm = max(entry.info.norms)
    radius = {0.0: 2.0, 1.0: 0.05, 2.0: 0.02, inf: 0.01}[norm]
    threat = ThreatModel(norm, radius if entry.info.needs_radius else None)
    x = torch.full((2, 3, 2, 2), 0.4) + torch.tensor([0.0, 0.003]).reshape(2, 1, 1, 1)
    if _capped(entry):
        params = {**params, "queries": least}
    entry.function(watched, x, torch.zeros(2, dtype=torch.int64), threat, draws=Draws(0, torch.arange(2)), **params)


def _capped(entry: Entry[AttackInfo]) -> bool:
    return "queries" in entry.parameters() and entry.info.access != "gradient"


def _least(entry: Entry[AttackInfo]) -> int:
    if "population" in entry.parameters():
        return 2 * int(entry.parameters()["population"].default)
    return {"spsa": 2 + 2 * 64}.get(entry.name, FEW)  # with fewer it takes no step, and refuses


@pytest.mark.slow
@pytest.mark.parametrize("entry", DECLARED, ids=[entry.name for entry in DECLARED])
def test_no_sample_costs_more_than_declared(entry: Entry[AttackInfo]) -> None:
    for gives_way in (False, True) if entry.info.minimum_norm else (False,):
        model = Firm(gives_way).eval()
        watched = Watched(model, torch.zeros(2, dtype=torch.int64))
        params = dict(REQUIRED[entry.name](model)) if entry.name in REQUIRED else {}
        limit = (_least(entry), 0) if _capped(entry) else entry.info.cost or (0, 0)
        _attacked(entry, watched, _least(entry), params)
        forwards, backwards = (int(passes.max()) for passes in watched.passes())
        assert forwards <= limit[0], "forward passes"
        assert backwards <= limit[1], "backward passes"


@pytest.mark.slow
@pytest.mark.parametrize("entry", DECLARED, ids=[entry.name for entry in DECLARED])
def test_no_sample_gets_past_its_budget(entry: Entry[AttackInfo]) -> None:
    """Nor by several gradients of one forward pass, or by the gradient of a gradient."""
    model = Firm(gives_way=True).eval()
    watched = Watched(model, torch.zeros(2, dtype=torch.int64), budget=5)
    params = dict(REQUIRED[entry.name](model)) if entry.name in REQUIRED else {}
    _attacked(entry, watched, _least(entry), params)
    forwards, backwards = watched.passes()
    assert int((forwards + backwards).max()) <= 5
