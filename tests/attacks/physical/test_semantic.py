"""semantic changes four numbers of an image."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from advbench.attacks.physical.semantic import semantic
from advbench.core.draws import Draws
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds

FREE = ThreatModel(inf, None)


class Brightness(nn.Module):
    """Class 1 where the mean exceeds `level`."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        mean = 10.0 * (x.flatten(1).mean(1) - self.level)
        return torch.stack([torch.zeros_like(mean), mean], 1)


@settings(max_examples=15, deadline=None)
@given(seeds())
def test_grey_level_images_change_by_a_factor_and_an_offset(seed: int) -> None:
    model = conv_net()
    x, _, draws = images(model, 6, seed)
    x = 0.3 + 0.3 * x
    x_adv = semantic(model, x, model(x).argmax(1), FREE, draws=draws, steps=3, restarts=2)
    for image, other in zip(x.flatten(1).double(), x_adv.flatten(1).double(), strict=True):
        basis = torch.stack([image - image.mean(), torch.ones_like(image)], 1)
        factor, offset = torch.linalg.lstsq(basis, other[:, None]).solution[:, 0].tolist()
        assert float((basis @ torch.tensor([factor, offset], dtype=torch.float64) - other).abs().max()) < 1e-5
        assert 0.7 - 1e-5 <= factor <= 1.3 + 1e-5
        assert abs(offset - float(image.mean())) <= 0.2 + 1e-5


@pytest.mark.parametrize(("level", "falls"), [(0.65, True), (0.69, True), (0.71, False)])
def test_brightness_goes_to_its_limit_and_not_further(level: float, falls: bool) -> None:
    x = 0.4 + 0.2 * torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    x = x - x.mean((1, 2, 3), keepdim=True) + 0.5
    y, draws = torch.zeros(4, dtype=torch.int64), Draws(0, torch.arange(4))
    x_adv = semantic(Brightness(level), x, y, FREE, draws=draws)
    assert bool(((Brightness(level)(x_adv).argmax(1) == 1) == falls).all())


def test_with_hue_alone_red_becomes_green() -> None:
    x = torch.tensor([0.8, 0.3, 0.2]).reshape(1, 3, 1, 1).expand(4, 3, 4, 4).contiguous()
    weight = torch.zeros(3, 3, 16)
    weight[[0, 1, 2], [0, 1, 2]] = 1.0  # class i sums channel i
    model = Linear(weight.flatten(1), torch.zeros(3))
    target, draws = torch.ones(4, dtype=torch.int64), Draws(0, torch.arange(4))
    x_adv = semantic(model, x, target, FREE, draws=draws, targeted=True, saturation=0, brightness=0, contrast=0)
    assert bool((model(x_adv).argmax(1) == 1).all())
    torch.testing.assert_close(x_adv.amax(1), x.amax(1), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(x_adv.amin(1), x.amin(1), atol=1e-5, rtol=0.0)


def test_a_sample_that_holds_costs_every_step_and_one_that_errs_a_single_pass() -> None:
    x = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    counting = Counting(Linear(torch.zeros(2, 48), torch.tensor([1.0, 0.0])), 3)
    x_adv = semantic(counting, x, torch.tensor([0, 1, 0]), FREE, draws=Draws(0, torch.arange(3)), steps=4, restarts=3)
    assert counting.passes.tolist() == [3 * 5, 1, 3 * 5]
    assert torch.equal(x_adv, x)


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="hue must not be negative"):
        semantic(model, x, y, FREE, draws=draws, hue=-0.1)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        semantic(model, x, y, FREE, draws=draws, steps=0)
    with pytest.raises(ConfigError, match="restarts must be at least 1"):
        semantic(model, x, y, FREE, draws=draws, restarts=0)
