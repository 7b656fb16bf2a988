"""The change of the score is split over the changed pixels, without a rest."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.gradient.pgd import pgd
from advbench.core.targets import logit, plus, times
from advbench.diagnostics.path_attribution import path_attribution
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images


class Square(nn.Module):
    """Scores sum(x^2) and 0: the part of a component is its own change of square."""

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1).square().sum(1)
        return torch.stack([score, 0.0 * score], 1)


@settings(max_examples=10)
@given(st.integers(0, 20))
def test_the_parts_sum_to_the_change_and_only_changed_pixels_have_one(seed: int) -> None:
    model = conv_net()
    x, y, draws = images(model, 4, seed)
    x_adv = pgd(model, x, y, ThreatModel(inf, 0.2), draws=draws, steps=5)
    x_adv = torch.where(torch.arange(6) < 3, x, x_adv)
    found = path_attribution(model, x, x_adv, y)
    assert_close(found.parts.flatten(1).sum(1), found.change, atol=1e-5, rtol=1e-5)
    assert_close(found.change, (model(x_adv) - model(x)).gather(1, y[:, None])[:, 0].detach(), atol=1e-5, rtol=1e-5)
    assert bool((found.gap.abs() <= 0.02 * found.parts.flatten(1).abs().sum(1) + 1e-4).all())
    assert torch.equal(found.parts[..., :3], torch.zeros_like(x)[..., :3])


def test_a_linear_score_is_of_first_order() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    x, x_adv = torch.rand(2, 4, 3, 2, 2, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0])
    found = path_attribution(model, x, x_adv, y)
    assert_close(found.parts, found.first_order)
    assert_close(found.share, torch.ones(4, dtype=torch.float64))


def test_a_square_is_split_exactly() -> None:
    x, x_adv = torch.rand(2, 3, 1, 2, 3, dtype=torch.float64)
    found = path_attribution(Square(), x, x_adv, torch.zeros(3, dtype=torch.int64))
    assert_close(found.parts, x_adv**2 - x**2)
    assert_close(found.first_order, 2.0 * x * (x_adv - x))


def test_nothing_changed_has_no_share() -> None:
    model = conv_net()
    x, y, _ = images(model, 2)
    found = path_attribution(model, x, x, y)
    assert bool(found.share.isnan().all())
    assert not found.parts.any()


def test_the_difference_of_two_classes_is_the_difference_of_the_parts() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    x, x_adv = torch.rand(2, 3, 1, 2, 2, dtype=torch.float64)
    margin = path_attribution(model, x, x_adv, plus(logit(0), times(-1.0, logit(1))))
    first, second = (path_attribution(model, x, x_adv, torch.full((3,), c)) for c in (0, 1))
    assert_close(margin.parts, first.parts - second.parts, atol=1e-8, rtol=1e-6)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ConfigError, match="one shape"):
        path_attribution(conv_net(), torch.rand(2, 1, 6, 6), torch.rand(1, 1, 6, 6), torch.tensor([0, 1]))
