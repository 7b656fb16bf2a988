"""Maps of a layer, and gradients with respect to them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import in_pieces
from advbench.core.map_reader import reading_maps
from advbench.core.spatial import enlarge, layer_gradient, layer_maps
from advbench.core.targets import logit, parse_target
from advbench.testing.witness import state_of
from advbench.types import ConfigError


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 2, 3),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(32, 3),
        ).eval()


@given(st.integers(1, 4), st.sampled_from(["0", "1", "2", "3"]), st.sampled_from([None, 1, 3]))
@settings(deadline=None, max_examples=20)
def test_gradient_of_the_maps_is_that_of_the_rest_of_the_network(count: int, layer: str, piece: int | None) -> None:
    model, x = net(), torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(count))
    y = torch.arange(count) % 3
    before = state_of(model)
    with in_pieces(piece):
        maps, grad = layer_gradient(model, x, logit(y), layer)
        assert torch.equal(layer_maps(model, x, layer), maps)
    assert state_of(model) == before
    cut = int(layer) + 1
    # Out of place: what a layer puts out is not what an in-place ReLU makes of it.
    steps = [nn.ReLU() if isinstance(step, nn.ReLU) else step for step in model]
    leaf = nn.Sequential(*steps[:cut])(x).detach().requires_grad_(True)
    score = nn.Sequential(*steps[cut:])(leaf).gather(1, y[:, None]).sum()
    assert torch.allclose(maps, leaf, atol=1e-6)
    assert torch.allclose(grad, torch.autograd.grad(score, leaf)[0], atol=1e-6)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.act(self.head(self.act(self.conv(x)).flatten(1)))
        return logits


def test_of_a_layer_used_again_without_rows_and_columns_the_map_counts() -> None:
    model, x = Twice().eval(), torch.rand(2, 1, 8, 8)
    maps, _ = layer_gradient(model, x, logit(0), "act")
    assert torch.allclose(maps, model.conv(x).relu(), atol=1e-6)


def test_hooks_and_state_are_gone_after_an_interruption() -> None:
    model, x = net(), torch.ones(1, 1, 8, 8)
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt), reading_maps(model):
        raise KeyboardInterrupt
    with pytest.raises(ConfigError, match="does not depend"):
        layer_gradient(model, x, parse_target("0:1"), "2")
    assert state_of(model) == before


def test_enlarging_keeps_centres() -> None:
    assert enlarge(torch.tensor([[[[0.0, 4.0]]]]), (1, 4)).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
