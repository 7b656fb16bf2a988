"""flow moves pixels, smoothly."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from advbench.attacks.physical.flow import _Lens, _roughness, flow
from advbench.core.draws import Draws
from advbench.core.projections import within
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds

FREE = ThreatModel(inf, None)


def lens(x: Tensor) -> _Lens:
    return _Lens(x, within(FREE, x))


@settings(max_examples=10, deadline=None)
@given(seeds())
def test_whole_pixels_move_as_a_loop_moves_them(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 3, 5, 7, generator=generator)
    z = torch.randint(-3, 4, (2, 2, 5, 7), generator=generator)
    expected = torch.empty_like(x)
    for i in range(2):
        for row in range(5):
            for column in range(7):
                down, across = z[i, :, row, column].tolist()
                from_row, from_column = min(max(row + down, 0), 4), min(max(column + across, 0), 6)
                expected[i, :, row, column] = x[i, :, from_row, from_column]
    torch.testing.assert_close(lens(x)(z.float(), torch.arange(2)), expected, atol=1e-5, rtol=0.0)


@settings(max_examples=20, deadline=None)
@given(seeds())
def test_nothing_moves_where_the_field_is_zero(seed: int) -> None:
    x = torch.rand(3, 1, 9, 4, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(lens(x)(torch.zeros(3, 2, 9, 4), torch.arange(3)), x)


def test_roughness_counts_every_pair_of_neighbours_twice() -> None:
    z = torch.zeros(1, 2, 3, 3)
    z[0, :, 1, 1] = torch.tensor([3.0, 4.0])  # four neighbours, five pixels away from each
    assert float(_roughness(z)) == pytest.approx(2 * 4 * 5.0, abs=1e-2)
    assert float(_roughness(torch.full((1, 2, 3, 3), 7.0))) < 1e-2


def test_what_is_not_in_the_image_cannot_come_into_it() -> None:
    model = conv_net()
    x, y, draws = images(model, 8)
    x_adv = flow(model, 0.2 + 0.5 * x, y, FREE, draws=draws, steps=20)
    low, high = (0.2 + 0.5 * x).flatten(1).amin(1), (0.2 + 0.5 * x).flatten(1).amax(1)
    assert bool((x_adv.flatten(1).amin(1) >= low - 1e-5).all())
    assert bool((x_adv.flatten(1).amax(1) <= high + 1e-5).all())


def test_a_line_is_moved_onto_a_sensor() -> None:
    """Two bright lines, and a class that one dark pixel between them decides: a line moves there as a whole."""
    x = torch.zeros(1, 1, 6, 6)
    x[..., 1] = x[..., 3] = 1.0
    weight = torch.zeros(2, 36)
    weight[1, 2] = 10.0  # row 0, column 2: dark, between the lines
    model = Linear(weight, torch.tensor([5.0, 0.0]))
    y, draws = torch.zeros(1, dtype=torch.int64), Draws(0, torch.arange(1))
    x_adv = flow(model, x, y, FREE, draws=draws)
    assert int(model(x_adv).argmax(1)) == 1
    half = torch.full((6,), 0.5)  # no further than the boundary
    torch.testing.assert_close(x_adv[0, 0, :, 2], half, atol=0.05, rtol=0.0)


def test_running_on_after_the_first_success_gives_a_smoother_field() -> None:
    """Two ramps, one down and one across, show by how much each pixel has moved."""
    ramp = torch.arange(8).float() / 16 + 0.2
    x = torch.stack([ramp[:, None].expand(8, 8), ramp.expand(8, 8)])[None].expand(6, 2, 8, 8).contiguous()
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 128, generator=generator, dtype=torch.float64)
    margins = ((weight[0] - weight[1]) * x[0].flatten()).sum()
    model = Linear(weight, torch.stack([1.0 - margins, torch.zeros(())]))
    y, draws = torch.zeros(6, dtype=torch.int64), Draws(0, torch.arange(6))
    found = [flow(model, x, y, FREE, draws=draws, early_stop=stop) for stop in (True, False)]
    assert all(bool((model(z).argmax(1) == 1).all()) for z in found)
    first, best = (float(_roughness(16.0 * (z - x))[0]) for z in found)
    assert best < 0.8 * first


def test_a_sample_that_errs_costs_one_pass_and_stays() -> None:
    model = conv_net()
    x, y, draws = images(model)
    counting = Counting(model, len(x))
    x_adv = flow(counting, x, (y + 1) % 4, FREE, draws=draws)
    assert torch.equal(x_adv, x)
    assert counting.passes.tolist() == [1] * len(x)


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="smoothness must not be negative"):
        flow(model, x, y, FREE, draws=draws, smoothness=-0.1)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        flow(model, x, y, FREE, draws=draws, steps=0)
    with pytest.raises(ConfigError, match="step_size must be positive"):
        flow(model, x, y, FREE, draws=draws, step_size=0.0)
