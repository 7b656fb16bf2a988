"""universal_patch shows one disc on every image, each time from another side."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attacks.physical.universal_patch import universal_patch
from advbench.core.draws import Draws
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


def bright_against(side: int, channels: int = 1) -> Linear:
    """Class 1 wins with brightness, but never enough: every lesson pulls every pixel up."""
    weight = torch.zeros(2, channels * side * side)
    weight[1] = 1.0 / weight.shape[1]
    return Linear(weight, torch.tensor([3.0, 0.0]))


@settings(max_examples=15, deadline=None)
@given(seeds(), st.integers(10, 400), st.sampled_from((0.0, 45.0, 180.0)), st.sampled_from((0.0, 0.5)))
def test_what_changes_is_a_disc_of_at_most_the_radius(seed: int, eps: int, degrees: float, shrink: float) -> None:
    x, y = torch.zeros(4, 1, 24, 24), torch.zeros(4, dtype=torch.int64)
    draws = Draws(seed, torch.arange(4))
    x_adv = universal_patch(
        bright_against(24), x, y, ThreatModel(0, eps), draws=draws, degrees=degrees, shrink=shrink, epochs=4
    )
    for shown in x_adv[:, 0]:
        count, spots = int((shown > 0).sum()), (shown > 0).nonzero().double()
        assert 0 < count <= eps
        assert count >= (1.0 - shrink) ** 2 * min(eps, math.pi * 144) - 3 * math.sqrt(eps) - 3
        furthest = (spots - spots.mean(0)).norm(dim=1).max()
        assert float(furthest) <= math.sqrt(eps / math.pi) + 1.0


def test_the_views_differ_but_show_one_patch() -> None:
    model = bright_against(20, channels=3)
    x, y, draws = torch.zeros(6, 3, 20, 20), torch.zeros(6, dtype=torch.int64), Draws(0, torch.arange(6))
    x_adv = universal_patch(model, x, y, ThreatModel(0, None), draws=draws, size=0.1, degrees=0, shrink=0, epochs=8)
    places = [tuple(shown.any(0).nonzero().amin(0).tolist()) for shown in x_adv != 0]
    assert len(set(places)) > 3
    assert all(float(shown[:, shown.any(0)].min()) > 0.9 for shown in x_adv)  # bright from edge to edge of the disc


def test_it_works_on_images_that_it_has_not_seen() -> None:
    model = conv_net()
    school, _, _ = images(model, 40, 7)
    x, y, draws = images(model, 40)
    taught = universal_patch(model, x, y, ThreatModel(0, 12), draws=draws, images=school, epochs=10)
    assert int((model(taught).argmax(1) != y).sum()) >= 8
    row = torch.tensor([3])
    alone = universal_patch(model, x[row], y[row], ThreatModel(0, 12), draws=draws.rows(row), images=school, epochs=10)
    torch.testing.assert_close(alone, taught[row], atol=1e-6, rtol=0.0)


def test_a_sample_that_errs_costs_one_pass_and_stays() -> None:
    model = conv_net()
    x, y, draws = images(model)
    y[:5] = (y[:5] + 1) % 4
    counting = Counting(model, len(x))
    x_adv = universal_patch(counting, x, y, ThreatModel(0, 9), draws=draws, epochs=3)
    assert torch.equal(x_adv[:5], x[:5])
    assert counting.passes.tolist() == [1] * 5 + [4] * (len(x) - 5)


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    threat = ThreatModel(0, None)
    with pytest.raises(ConfigError, match=r"size must be in \(0, 1\]"):
        universal_patch(model, x, y, threat, draws=draws, size=0.0)
    with pytest.raises(ConfigError, match="need degrees in"):
        universal_patch(model, x, y, threat, draws=draws, degrees=200.0)
    with pytest.raises(ConfigError, match="need degrees in"):
        universal_patch(model, x, y, threat, draws=draws, shrink=1.0)
    with pytest.raises(ConfigError, match="epochs must be at least 1"):
        universal_patch(model, x, y, threat, draws=draws, epochs=0)
    with pytest.raises(ConfigError, match="labels belong to images"):
        universal_patch(model, x, y, threat, draws=draws, labels=y)
