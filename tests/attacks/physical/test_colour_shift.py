"""colour_shift changes hue and saturation, never the value."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from advbench.attacks.physical.colour_shift import colour_shift
from advbench.core.colour import rgb_to_hsv
from advbench.core.draws import Draws
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting
from tests.strategies import seeds

FREE = ThreatModel(inf, None)


def colourful(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed))


class Redness(nn.Module):
    """Class 0 where there is more red than green."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))[:, :2]


@settings(max_examples=15, deadline=None)
@given(seeds())
def test_all_pixels_turn_by_one_angle_and_keep_their_value(seed: int) -> None:
    x = 0.2 + 0.6 * colourful(6, seed)
    model = Redness()
    y, draws = model(x).argmax(1), Draws(seed, torch.arange(6))
    x_adv = colour_shift(model, x, y, FREE, draws=draws, tries=20)
    fooled = model(x_adv).argmax(1) != y
    torch.testing.assert_close(x_adv.amax(1), x.amax(1), atol=1e-5, rtol=0.0)
    old, new = rgb_to_hsv(x.double()), rgb_to_hsv(x_adv.double())
    turn = (new[:, 0] - old[:, 0]).remainder(1.0)
    away = (turn - turn[:, :1, :1] + 0.5).remainder(1.0) - 0.5  # from that of the first pixel
    clear = (new[:, 1] > 0.05) & (new[:, 1, :1, :1] > 0.05)  # greys have no hue
    assert float((away.abs() * clear).max()) < 1e-3
    assert torch.equal(x_adv[~fooled], x[~fooled])


def test_red_is_made_something_else_at_the_first_try_that_does_it() -> None:
    x = torch.tensor([0.8, 0.1, 0.1]).reshape(1, 3, 1, 1).expand(8, 3, 4, 5).contiguous()
    y, draws = torch.zeros(8, dtype=torch.int64), Draws(0, torch.arange(8))
    counting = Counting(Redness(), 8)
    x_adv = colour_shift(counting, x, y, FREE, draws=draws)
    assert bool((Redness()(x_adv).argmax(1) == 1).all())
    assert int(counting.passes.max()) < 30
    green = torch.ones(8, dtype=torch.int64)
    assert bool((Redness()(colour_shift(Redness(), x, green, FREE, draws=draws, targeted=True)).argmax(1) == 1).all())


def test_grey_level_images_come_back_after_one_pass_and_holding_ones_after_all() -> None:
    y, draws = torch.zeros(3, dtype=torch.int64), Draws(0, torch.arange(3))
    for channels, passes in ((1, 1), (3, 8)):
        x = torch.rand(3, channels, 4, 4, generator=torch.Generator().manual_seed(0))
        counting = Counting(Linear(torch.zeros(2, channels * 16), torch.tensor([1.0, 0.0])), 3)
        assert torch.equal(colour_shift(counting, x, y, FREE, draws=draws, tries=7), x)
        assert counting.passes.tolist() == [passes] * 3


def test_impossible_settings_are_refused() -> None:
    x, draws = colourful(1, 0), Draws(0, torch.arange(1))
    with pytest.raises(ConfigError, match="tries must be at least 1"):
        colour_shift(Redness(), x, torch.zeros(1, dtype=torch.int64), FREE, draws=draws, tries=0)
