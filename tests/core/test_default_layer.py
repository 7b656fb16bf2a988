"""Which layer is taken for a class activation map if nobody names one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.default_layer import default_layer
from advbench.core.targets import logit, parse_target
from advbench.models.normalize import Normalized
from advbench.testing.witness import state_of
from advbench.types import ConfigError


def stages(*strides: int, channels: int = 4) -> list[nn.Module]:
    return [
        nn.Sequential(nn.Conv2d(3 if i == 0 else channels, channels, 3, stride, 1), nn.ReLU())
        for i, stride in enumerate(strides)
    ]


def head(inputs: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 5)]


class Residual(nn.Module):
    """A block that halves the map in its branch after a convolution that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.down, self.skip = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 3, 2, 1), nn.Conv2d(4, 4, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.down(self.wide(x).relu())
        return down.add(self.skip(x))


CASES: dict[str, tuple[nn.Module, int, str]]
with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)  # some other weights have no open ReLU at all
    CASES = {
        "the last stage": (nn.Sequential(*stages(2, 2), *head(4)), 32, "1"),
        "8 x 8 rather than 4 x 4 rather than 2 x 2": (nn.Sequential(*stages(2, 2, 2, 2), *head(4)), 32, "1"),
        "nothing has 5 x 5: the last of the largest": (nn.Sequential(*stages(1, 1, 2), *head(4)), 4, "1"),
        "a functional ReLU and dropout behind it do not matter": (
            nn.Sequential(*stages(2, 2), nn.Dropout(), nn.Identity(), *head(4)),
            32,
            "1",
        ),
        "class maps are the answer already": (
            nn.Sequential(*stages(2), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            16,
            "0",
        ),
        "as many maps as classes, but mixed": (nn.Sequential(*stages(2, channels=5), *head(5)), 16, "0"),
        "not inside of a residual branch": (nn.Sequential(*stages(2), Residual(), *head(4)), 16, "0"),
        "not the normalised image": (
            Normalized(nn.Sequential(*stages(2), *head(4)), (0.5,) * 3, (0.5,) * 3),
            16,
            "net.0",
        ),
    }


@pytest.mark.parametrize(("model", "size", "expected"), CASES.values(), ids=CASES)
def test_the_layer_is(model: nn.Module, size: int, expected: str) -> None:
    model.train()
    before, generator = state_of(model), torch.random.get_rng_state()
    found = default_layer(model, torch.zeros(0, 3, size, size), logit(0))
    assert found == expected
    assert state_of(model) == before
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_it_does_not_lie_behind_the_layer_that_is_scored() -> None:
    model = nn.Sequential(*stages(2, 1, 1), *head(4))
    assert default_layer(model, torch.zeros(1, 3, 16, 16), parse_target("1:2")) == "1.1"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), "no convolution .*gradient, integrated_gradients"),
        (Normalized(nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), (0.5,) * 3, (0.5,) * 3), "no convolution"),
        (
            nn.Sequential(*stages(2), nn.AdaptiveAvgPool2d(1), nn.Threshold(100.0, 0.0), nn.Flatten()),
            "is zero at every",
        ),
    ],
)
def test_networks_without_one_are_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        default_layer(model, torch.zeros(1, 3, 16, 16), logit(0))
