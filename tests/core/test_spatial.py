"""Which axes of an output are rows and columns, and gradients with respect to them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import in_pieces
from advbench.core.spatial import MapReader, enlarge, layer_gradient, layer_maps, reading_maps
from advbench.core.targets import logit, parse_target
from advbench.testing.witness import state_of
from advbench.types import ConfigError


def marked(count: int, channels: int, rows: int, columns: int) -> Tensor:
    """(count, channels, rows, columns), every entry another number."""
    return torch.arange(count * channels * rows * columns, dtype=torch.float32).reshape(count, channels, rows, columns)


@given(st.integers(1, 3), st.integers(1, 12), st.integers(2, 9), st.integers(2, 9), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_maps_come_back_from_every_layout(count: int, channels: int, rows: int, columns: int, cell: int) -> None:
    """Behind a convolution channels are first, behind a layer norm last, whatever the sizes."""
    maps = marked(count, channels, rows, columns)
    reader = MapReader((rows * cell, columns * cell))
    reader.note(nn.Conv2d(1, 1, 1), None, maps)
    layout = reader.layout(maps)
    assert layout is not None
    assert torch.equal(layout(maps), maps)
    last = maps.permute(0, 2, 3, 1).contiguous()
    reader.note(nn.LayerNorm(channels), None, last)
    layout = reader.layout(last)
    assert layout is not None
    assert torch.equal(layout(last), maps)


@given(st.integers(1, 8), st.integers(2, 9), st.integers(2, 9), st.integers(0, 5), st.sampled_from([4, 16]))
@settings(deadline=None, max_examples=60)
def test_tokens_come_back_as_maps(channels: int, rows: int, columns: int, extra: int, patch: int) -> None:
    maps = marked(2, channels, rows, columns)
    tokens = torch.cat([torch.full((2, extra, channels), -1.0), maps.flatten(2).transpose(1, 2)], 1)
    reader = MapReader((rows * patch, columns * patch))
    reader.note(nn.Conv2d(1, 1, 1), None, torch.zeros(2, 3, rows, columns))
    layout = reader.layout(tokens)
    assert layout is not None
    assert torch.equal(layout(tokens), maps)


@pytest.mark.parametrize(
    ("tokens", "image", "grid"),
    [
        (197, (224, 224), (14, 14)),
        (196, (224, 224), (14, 14)),
        (201, (224, 224), (14, 14)),
        (50, (224, 224), (7, 7)),
        (17, (16, 16), (4, 4)),
        (151, (160, 240), (10, 15)),
        (39, (224, 224), (6, 6)),
        (3, (16, 160), None),
    ],
)
def test_without_a_convolution_the_image_tells_the_grid(
    tokens: int, image: tuple[int, int], grid: tuple[int, int] | None
) -> None:
    assert MapReader(image).grid_of(tokens) == grid


def test_a_view_turned_back_is_told_by_its_memory() -> None:
    """Swin's last step: (B, h, w, C) seen as (B, C, h, w), right behind a layer norm."""
    maps = marked(2, 8, 7, 8)
    last = maps.permute(0, 2, 3, 1).contiguous()
    reader = MapReader((56, 64))
    reader.note(nn.LayerNorm(8), None, last)
    layout = reader.layout(last.permute(0, 3, 1, 2))
    assert layout is not None
    assert torch.equal(layout(maps), maps)


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
    with pytest.raises(KeyboardInterrupt), reading_maps(model, (8, 8)):
        raise KeyboardInterrupt
    with pytest.raises(ConfigError, match="does not depend"):
        layer_gradient(model, x, parse_target("0:1"), "2")
    assert state_of(model) == before


def test_enlarging_keeps_centres() -> None:
    assert enlarge(torch.tensor([[[[0.0, 4.0]]]]), (1, 4)).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
