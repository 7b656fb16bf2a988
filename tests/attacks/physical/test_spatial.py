"""spatial looks at turned and moved images only, and finds what a search through all of them finds."""

from __future__ import annotations

import itertools
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.physical.spatial import spatial
from advbench.core.draws import Draws
from advbench.core.losses import margin
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds

FREE = ThreatModel(inf, None)


def moved(x: Tensor, down: int, right: int) -> Tensor:
    """x (B, C, H, W) moved by whole pixels; zeros come in."""
    height, width = x.shape[2:]
    canvas = torch.zeros(*x.shape[:2], 3 * height, 3 * width)
    canvas[:, :, height : 2 * height, width : 2 * width] = x
    return canvas[:, :, height - down : 2 * height - down, width - right : 2 * width - right]


class Unmoved(nn.Module):
    """Class 0 for the image it was made for, whatever else for any other."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, x: Tensor) -> Tensor:
        other = (x - self.x).flatten(1).abs().sum(1)
        return torch.stack([torch.full_like(other, 1e3), other], 1)


@settings(max_examples=20, deadline=None)
@given(seeds())
def test_the_largest_loss_on_the_grid_of_moves_is_found(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 1, 10, 10, generator=generator)
    weight = 0.1 * torch.randn(2, 100, generator=generator, dtype=torch.float64)
    model, y = Linear(weight, torch.tensor([1e2, 0.0])), torch.zeros(1, dtype=torch.int64)
    draws = Draws(seed, torch.arange(1))
    x_adv = spatial(model, x, y, FREE, draws=draws, degrees=0.0, angles=1, shift=0.2, shifts=5)
    every = [moved(x, down, right) for down, right in itertools.product(range(-2, 3), repeat=2)]
    least = min(float(margin(model.exact(z).detach(), y)) for z in every)
    assert float(margin(model.exact(x_adv).detach(), y)) == pytest.approx(least, abs=1e-4)


def test_a_right_angle_is_a_turn_of_the_pixels() -> None:
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    y, draws = torch.zeros(1, dtype=torch.int64), Draws(0, torch.arange(1))
    x_adv = spatial(Unmoved(x), x, y, FREE, draws=draws, degrees=90.0, angles=2, shift=0.0, shifts=1)
    turns = [torch.rot90(x, k, (2, 3)) for k in (1, 3)]
    assert min(float((x_adv - turn).abs().max()) for turn in turns) < 1e-4


@settings(max_examples=10, deadline=None)
@given(seeds(), st.sampled_from(("grid", "random")))
def test_a_radius_bounds_every_component(seed: int, search_by: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 6, seed)
    x_adv = spatial(
        model,
        x,
        y,
        ThreatModel(inf, 0.05),
        draws=draws,
        search_by=search_by,
        angles=3,
        shifts=3,  # type: ignore[arg-type]
    )
    assert float((x_adv - x).abs().max()) <= 0.05 + 1e-6


@pytest.mark.parametrize(("search_by", "passes"), [("grid", 1 + 3 * 4), ("random", 1 + 7)])
def test_a_sample_that_holds_costs_every_view_and_one_that_errs_a_single_pass(search_by: str, passes: int) -> None:
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    model = Linear(torch.zeros(2, 36), torch.tensor([1.0, 0.0]))
    y, draws = torch.tensor([0, 1, 0, 0]), Draws(0, torch.arange(4))
    counting = Counting(model, 4)
    x_adv = spatial(
        counting,
        x,
        y,
        FREE,
        draws=draws,
        search_by=search_by,
        angles=3,
        shifts=2,
        tries=7,  # type: ignore[arg-type]
    )
    assert counting.passes.tolist() == [passes, 1, passes, passes]
    assert torch.equal(x_adv[1], x[1])


def test_more_views_fool_more() -> None:
    model = conv_net()
    x, y, draws = images(model, 48)

    def fooled(**params: object) -> int:
        return int((model(spatial(model, x, y, FREE, draws=draws, **params)).argmax(1) != y).sum())  # type: ignore[arg-type]

    once = fooled(search_by="random", tries=1)
    assert once < fooled(search_by="random", tries=10) <= fooled()


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="degrees must not be negative"):
        spatial(model, x, y, FREE, draws=draws, degrees=-1.0)
    with pytest.raises(ConfigError, match="shifts must be at least 1"):
        spatial(model, x, y, FREE, draws=draws, shifts=0)
    with pytest.raises(ConfigError, match="tries must be at least 1"):
        spatial(model, x, y, FREE, draws=draws, search_by="random", tries=0)
    with pytest.raises(ConfigError, match="fill must lie in"):
        spatial(model, x, y, FREE, draws=draws, fill=2.0)
