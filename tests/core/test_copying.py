"""A network is copied with its weights and without the graph of what it computed last."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import advbench
from advbench.core.copying import copy_of
from advbench.types import ThreatModel


class Keeping(nn.Module):
    """Keeps its last activations, as networks with a debugging aid do."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(1, 3, 3), nn.Linear(48, 4)
        self.kept: dict[str, list[Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.conv(x)
        self.kept["all"] = [self.last.relu(), x]
        scores: Tensor = self.head(self.last.flatten(1))
        return scores


def test_the_copy_computes_the_same_and_shares_nothing() -> None:
    model, x = Keeping(), torch.rand(2, 1, 6, 6)
    model(x)
    twin = copy_of(model)
    assert torch.equal(twin(x), model(x))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert bool((model.conv.weight != 0).all())
    assert model.last.grad_fn is not None


def test_shared_weights_stay_the_same_tensors() -> None:
    model = Keeping()
    model(torch.rand(2, 1, 6, 6))
    twin = copy_of(model, shared=model.parameters())
    assert all(one is other for one, other in zip(twin.parameters(), model.parameters(), strict=True))
    assert twin.last is not model.last


def test_a_network_that_keeps_activations_can_be_attacked_and_explained() -> None:
    model, x = Keeping().eval(), torch.rand(8, 1, 6, 6)
    y = model(x).argmax(1)
    rows = advbench.evaluate(model, x, y, attack="pgd", threat=ThreatModel(norm=2, eps=1.0), steps=3)
    assert len(rows.x_adv) == 8
    model(x)
    assert advbench.explain("smooth_grad", model, x, y).shape == x.shape
