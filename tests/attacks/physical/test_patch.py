"""patch changes one square of each image and nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.physical.patch import patch
from advbench.core.draws import Draws
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


def extent(changed: Tensor) -> tuple[int, int]:
    """Height and width of the smallest rectangle around the pixels (H, W) that are True; (0, 0) without one."""
    rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
    if not len(rows):
        return 0, 0
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


@settings(max_examples=15, deadline=None)
@given(seeds(), st.integers(0, 50))
def test_what_changes_lies_in_the_largest_square_that_the_radius_allows(seed: int, eps: int) -> None:
    model = conv_net()
    x, y, draws = images(model, 4, seed)
    x_adv = patch(model, x, y, ThreatModel(0, eps), draws=draws, steps=3)
    for changed in (x_adv != x).any(1):
        assert max(extent(changed)) <= min(int(eps**0.5), 6)


@settings(max_examples=10, deadline=None)
@given(seeds(), st.integers(1, 3), st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_on_a_linear_model_the_square_takes_the_better_end_of_the_box(
    seed: int, side: int, place: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = 0.1 * torch.randn(2, 36, generator=generator, dtype=torch.float64)
    model = Linear(weight, torch.tensor([5.0, 0.0]))  # more than 9 pixels can gain: every step is taken
    x = torch.rand(3, 1, 6, 6, generator=generator)
    y, draws = torch.zeros(3, dtype=torch.int64), Draws(seed, torch.arange(3))
    x_adv = patch(model, x, y, ThreatModel(0, side**2), draws=draws, place=place, steps=40)
    top, left = (min(each, 6 - side) for each in place)
    best = ((weight[1] - weight[0]) > 0).float().reshape(6, 6)
    expected = x.clone()
    expected[:, 0, top : top + side, left : left + side] = best[top : top + side, left : left + side]
    gap = model.exact(x_adv) - model.exact(expected)
    torch.testing.assert_close(gap, torch.zeros_like(gap), atol=1e-3, rtol=0.0)  # rounding in the loss


def test_a_larger_square_and_further_places_fool_more() -> None:
    model = conv_net()
    x, y, draws = images(model, 48)

    def fooled(**params: object) -> int:
        x_adv = patch(model, x, y, ThreatModel(0, None), draws=draws, steps=20, **params)  # type: ignore[arg-type]
        return int((model(x_adv).argmax(1) != y).sum())

    small, large, elsewhere = fooled(size=0.12), fooled(size=0.7), fooled(size=0.12, restarts=4)
    assert small < elsewhere
    assert small < large


def test_without_radius_and_size_the_patch_covers_a_twentieth() -> None:
    model = Linear(torch.cat([torch.zeros(1, 1200), 0.1 * torch.ones(1, 1200)]), torch.tensor([8.0, 0.0]))
    x, y, draws = torch.zeros(1, 3, 20, 20), torch.zeros(1, dtype=torch.int64), Draws(0, torch.arange(1))
    x_adv = patch(model, x, y, ThreatModel(0, None), draws=draws, steps=5)
    changed = x_adv[0] != x[0]
    assert int(changed.sum()) == 3 * 4 * 4  # 4 x 4 of 20 x 20 pixels is the square nearest to 5 %
    assert extent(changed.any(0)) == (4, 4)


def test_a_sample_that_errs_costs_one_pass_and_stays() -> None:
    model = conv_net()
    x, y, draws = images(model)
    wrong = (y + 1) % 4
    counting = Counting(model, len(x))
    x_adv = patch(counting, x, wrong, ThreatModel(0, 9), draws=draws)
    assert torch.equal(x_adv, x)
    assert counting.passes.tolist() == [1] * len(x)


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    threat = ThreatModel(0, None)
    with pytest.raises(ConfigError, match=r"size must be in \(0, 1\]"):
        patch(model, x, y, threat, draws=draws, size=5.0)
    with pytest.raises(ConfigError, match="place must be"):
        patch(model, x, y, threat, draws=draws, place=(-1, 0))
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        patch(model, x, y, threat, draws=draws, steps=0)
    with pytest.raises(ConfigError, match="restarts must be at least 1"):
        patch(model, x, y, threat, draws=draws, restarts=0)
    with pytest.raises(ConfigError, match="step_size must be positive"):
        patch(model, x, y, threat, draws=draws, step_size=0.0)
