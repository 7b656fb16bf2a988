"""occlusion against scores that are known for every window, and against a loop over windows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attributions.occlusion import occlusion
from advbench.core.targets import of_output, parse_target, probability
from advbench.types import ConfigError


class Linear(nn.Module):
    """Logits (B, 3): three weighted sums of the pixels."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        weight = torch.randn(3, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", x, self.weight)


class Planted(nn.Module):
    """One logit: the mean of the 4 x 4 square at rows 4 to 7, columns 8 to 11; squared, so that it is no linear one."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 4:8, 8:12].mean((1, 2, 3))[:, None].square()


def by_hand(score: Callable[[Tensor], Tensor], x: Tensor, window: int, stride: int, grey: float) -> Tensor:
    """One image (1, C, H, W): every window on its own, its drop added to the pixels that it hides."""
    height, width = x.shape[2:]
    total, count = torch.zeros(height, width).double(), torch.zeros(height, width).double()
    top = 0
    while True:
        left = 0
        while True:
            hidden = x.clone()
            hidden[:, :, top : top + window, left : left + window] = grey
            total[top : top + window, left : left + window] += float((score(x) - score(hidden)).detach())
            count[top : top + window, left : left + window] += 1
            if left + window >= width:
                break
            left += stride
        if top + window >= height:
            break
        top += stride
    return total / count


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.data())
def test_it_is_the_mean_drop_over_the_covering_windows(height: int, width: int, data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 15))
    stride = data.draw(st.integers(1, window))
    model = Linear((2, height, width))
    x = torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(height)).double()
    y = torch.tensor([2, 0])
    heat = occlusion(model, x, y, window=window, stride=stride, baseline=0.25)
    for i in range(2):
        label = int(y[i])
        expected = by_hand(lambda z, k=label: model(z)[0, k], x[i : i + 1], window, stride, 0.25)  # type: ignore[misc]
        assert torch.allclose(heat[i, 0], expected, atol=1e-12)


@pytest.mark.parametrize("baseline", [0.5, "mean", "blur"])
def test_a_window_as_large_as_the_image_gives_one_difference(baseline: float | str) -> None:
    model = Linear((2, 9, 7))
    x, y = torch.rand(3, 2, 9, 7).double(), torch.tensor([0, 1, 2])
    heat = occlusion(model, x, y, window=9, stride=2, baseline=baseline)
    assert torch.allclose(heat, heat[:, :, :1, :1].expand(3, 1, 9, 7), atol=1e-12)
    if baseline == "mean":
        hidden = x.mean((2, 3), keepdim=True).expand_as(x)
        drop = (model(x) - model(hidden)).gather(1, y[:, None])
        assert torch.allclose(heat[:, 0, 0, :1], drop, atol=1e-12)
    elif baseline == 0.5:
        drop = (model(x) - model(torch.full_like(x, 0.5))).gather(1, y[:, None])
        assert torch.allclose(heat[:, 0, 0, :1], drop, atol=1e-12)


def test_windows_that_meet_the_planted_square_show_its_value_there_and_zero_elsewhere() -> None:
    x = torch.full((1, 3, 16, 16), 0.8, dtype=torch.float64)
    heat = occlusion(Planted(), x, torch.tensor([0]), window=4, stride=4, baseline=0.0)
    expected = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    expected[:, :, 4:8, 8:12] = 0.64  # 0.8 squared, and 0 once it is hidden
    assert torch.allclose(heat, expected)
    assert torch.equal(heat == 0, expected == 0)


def test_the_remaining_score_and_the_drop_add_up_to_the_score() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 81, 3)).eval()
    x, y = torch.rand(3, 1, 11, 11), torch.tensor([2, 1, 0])
    drop = occlusion(model, x, probability(y), window=5, stride=3)
    left = occlusion(model, x, probability(y), window=5, stride=3, remaining=True)
    chance = model(x).softmax(1).gather(1, y[:, None])[:, :, None, None]
    assert torch.allclose(drop + left, chance.expand(3, 1, 11, 11), atol=1e-6)
    assert bool(((left > 0) & (left < 1)).all())
    assert torch.allclose(occlusion(model, x, parse_target("prob:1"))[1], occlusion(model, x, probability(y))[1])


class Viewing(nn.Module):
    """A network that takes its maps apart with `view`, which wants them contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.conv(x)
        logits: Tensor = self.head(maps.view(len(x), -1))
        return logits


def test_a_model_that_wants_contiguous_maps_gets_them() -> None:
    torch.manual_seed(1)
    model = Viewing().eval()
    x = torch.rand(2, 3, 8, 8)
    heat = occlusion(model, x, torch.tensor([0, 1]), window=8)
    drop = (model(x) - model(torch.full_like(x, 0.5))).gather(1, torch.tensor([[0], [1]]))
    assert torch.allclose(heat[:, 0, 0, :1], drop, atol=1e-5)


def test_defaults_are_a_fifth_of_the_side_and_a_quarter_of_that() -> None:
    model = Linear((1, 20, 26))
    x, y = torch.rand(1, 1, 20, 26).double(), torch.tensor([1])
    assert torch.equal(occlusion(model, x, y), occlusion(model, x, y, window=4, stride=1))


def test_what_does_not_fit_is_refused() -> None:
    model, x = Linear((1, 6, 6)), torch.rand(1, 1, 6, 6).double()
    target = of_output(lambda output: output[:, 0])
    for window, stride in ((0, None), (3, 4), (3, 0)):
        with pytest.raises(ConfigError, match="stride <= window"):
            occlusion(model, x, target, window=window, stride=stride)
    for baseline in ("black", float("nan")):
        with pytest.raises(ConfigError, match="baseline"):
            occlusion(model, x, target, baseline=baseline)
