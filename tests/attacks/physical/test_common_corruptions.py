"""common_corruptions shows the model a corrupted image, or the worst of fifteen."""

from __future__ import annotations

from math import inf
from typing import get_args

import pytest
import torch

from advbench.attacks.physical.common_corruptions import Kind, common_corruptions
from advbench.attacks.physical.corruption.kinds import KINDS, corrupt
from advbench.core.draws import Draws
from advbench.core.losses import margin
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images

FREE = ThreatModel(inf, None)


def holding(size: int) -> Linear:
    """A model with slopes that no corruption crosses."""
    weight = 0.01 * torch.randn(2, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Linear(weight, torch.tensor([50.0, 0.0]))


def test_the_names_are_those_of_the_table() -> None:
    assert get_args(Kind) == ("worst", *KINDS)


@pytest.mark.parametrize("kind", ["gaussian_noise", "fog", "jpeg_compression"])
def test_a_single_kind_is_applied_to_all_that_are_not_wrong_already(kind: Kind) -> None:
    model = conv_net()
    x, y, draws = images(model, 6)
    y[2] = (y[2] + 1) % 4
    counting = Counting(model, 6)
    x_adv = common_corruptions(counting, x, y, FREE, draws=draws, kind=kind, severity=5)
    expected = corrupt(x, draws, kind, 5)
    expected[2] = x[2]
    torch.testing.assert_close(x_adv, expected, atol=1e-6, rtol=0.0)
    assert counting.passes.tolist() == [1] * 6


def test_the_worst_of_all_has_the_largest_loss() -> None:
    x = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    model, y, draws = holding(36), torch.zeros(5, dtype=torch.int64), Draws(0, torch.arange(5))
    counting = Counting(model, 5)
    x_adv = common_corruptions(counting, x, y, FREE, draws=draws, severity=4)
    every = torch.stack([margin(model.exact(z), y) for z in (x, *(corrupt(x, draws, kind, 4) for kind in KINDS))])
    torch.testing.assert_close(margin(model.exact(x_adv), y), every.amin(0), atol=1e-5, rtol=0.0)
    assert counting.passes.tolist() == [1 + 15] * 5


def test_a_radius_bounds_every_component_and_another_box_is_used_in_full() -> None:
    model = conv_net()
    x, y, draws = images(model, 6)
    near = common_corruptions(model, x, y, ThreatModel(inf, 0.1), draws=draws, kind="contrast", severity=5)
    assert float((near - x).abs().max()) <= 0.1 + 1e-6
    wide = ThreatModel(inf, None, low=-1.0, high=1.0)
    salted = common_corruptions(holding(36), x, 0 * y, wide, draws=draws, kind="impulse_noise", severity=5)
    assert {-1.0, 1.0} <= set(salted.flatten().tolist())


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="severity must be in 1"):
        common_corruptions(model, x, y, FREE, draws=draws, severity=6)
    with pytest.raises(ConfigError, match="kind must be worst"):
        common_corruptions(model, x, y, FREE, draws=draws, kind="rain")  # type: ignore[arg-type]
