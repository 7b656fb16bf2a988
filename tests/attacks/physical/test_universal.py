"""universal adds the same perturbation to every image that it changes."""

from __future__ import annotations

import math
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.physical.universal import universal
from advbench.attacks.physical.universal_patch import universal_patch
from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.models.watch import Watched
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


def middle(count: int, seed: int) -> Tensor:
    """Images (count, 1, 6, 6) in [0.3, 0.7]: a small perturbation stays in the box."""
    return 0.3 + 0.4 * torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=10, deadline=None)
@given(seeds(), st.sampled_from((2.0, inf)))
def test_all_samples_get_the_same_perturbation_or_none(seed: int, norm: float) -> None:
    model, x = conv_net(), middle(12, seed)
    y = model(x).argmax(1)
    y[:3] = (y[:3] + 1) % 4  # these err already
    x_adv = universal(model, x, y, ThreatModel(norm, 0.1), draws=Draws(seed, torch.arange(12)), epochs=3, batch=4)
    delta = x_adv - x
    assert torch.equal(x_adv[:3], x[:3])
    assert float((delta[3:] - delta[3]).abs().max()) < 1e-6
    assert float(delta[3].abs().max()) > 0.01


@settings(max_examples=10, deadline=None)
@given(seeds(), st.sampled_from((2.0, inf)))
def test_on_one_side_of_a_hyperplane_it_is_the_shortest_way_across(seed: int, norm: float) -> None:
    weight = torch.randn(2, 36, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = middle(8, seed)
    model = Linear(weight, torch.tensor([float(((weight[1] - weight[0]) * x.flatten(1)).sum(1).max()) + 0.5, 0.0]))
    y = torch.zeros(8, dtype=torch.int64)
    threat = ThreatModel(norm, 0.1)
    x_adv = universal(model, x, y, threat, draws=Draws(seed, torch.arange(8)), epochs=8)
    across = (weight[1] - weight[0]).reshape(1, 1, 6, 6).float()
    best = 0.1 * across.sign() if norm == inf else 0.1 * across / across.norm()
    torch.testing.assert_close(x_adv - x, best.expand(8, 1, 6, 6), atol=1e-5, rtol=0.0)


def test_learned_elsewhere_a_sample_does_not_feel_the_others() -> None:
    model = conv_net()
    school, _, _ = images(model, 40, 7)
    x, y, draws = images(model, 6)
    threat = ThreatModel(inf, 0.2)
    together = universal(model, x, y, threat, draws=draws, images=school)
    for i in range(6):
        row = torch.tensor([i])
        alone = universal(model, x[row], y[row], threat, draws=draws.rows(row), images=school)
        torch.testing.assert_close(alone, together[row], atol=1e-6, rtol=0.0)


def test_it_fools_what_it_was_learned_on_and_others_more_than_noise_does() -> None:
    model = conv_net()
    school, wrong, _ = images(model, 64, 7)
    x, y, draws = images(model, 64)
    threat = ThreatModel(inf, 0.15)
    noise = (x + 0.15 * draws.signs((1, 6, 6), "noise")).clamp(0.0, 1.0)
    by_noise = int((model(noise).argmax(1) != y).sum())
    for taught in ({}, {"images": school}, {"images": school, "labels": wrong}):
        fooled = int((model(universal(model, x, y, threat, draws=draws, **taught)).argmax(1) != y).sum())
        assert fooled >= 1.4 * by_noise


def test_images_lie_in_the_box_of_the_threat() -> None:
    """In [-1, 1] it learns what it learns in [0, 1]."""
    model = conv_net()
    school, x = middle(40, 7), middle(6, 1)
    y, draws = model(x).argmax(1), Draws(0, torch.arange(6))

    class Moved(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            logits: Tensor = model((z + 1.0) / 2.0)
            return logits

    there = universal(Moved(), 2 * x - 1, y, ThreatModel(inf, 0.2, -1, 1), draws=draws, images=2 * school - 1, epochs=3)
    here = universal(model, x, y, ThreatModel(inf, 0.1), draws=draws, images=school, epochs=3)
    torch.testing.assert_close((there + 1) / 2, here, atol=1e-5, rtol=0.0)


def test_a_target_is_reached_by_more_samples_with_the_perturbation() -> None:
    model = conv_net()
    x, _, draws = images(model, 32)
    target = torch.full((32,), 2)
    x_adv = universal(model, x, target, ThreatModel(inf, 0.2), draws=draws, targeted=True)
    assert int((model(x_adv).argmax(1) == 2).sum()) > int((model(x).argmax(1) == 2).sum()) + 8


@pytest.mark.parametrize("piece", [None, 3])
def test_the_passes_are_charged_to_the_samples_that_are_learned_on(piece: int | None) -> None:
    model = conv_net()
    x, y, draws = images(model, 10)
    y[0] = (y[0] + 1) % 4
    counting = Counting(model, 10)
    with in_pieces(piece):
        universal(counting, x, y, ThreatModel(inf, 0.1), draws=draws, epochs=3, batch=4)
    assert counting.passes.tolist() == [1, *[4] * 9]


def test_passes_for_other_images_are_spread_over_the_samples() -> None:
    model = conv_net()
    school, _, _ = images(model, 40, 7)
    x, y, draws = images(model, 10)
    watched = Watched(model, y)
    universal(watched, x, y, ThreatModel(inf, 0.1), draws=draws, images=school, epochs=3)
    forwards, backwards = watched.passes()
    assert forwards.tolist() == [1 + (3 + 1) * 4] * 10  # 40 images for 10 samples: labels, then three epochs
    assert backwards.tolist() == [3 * 4] * 10


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    threat = ThreatModel(inf, 0.1)
    with pytest.raises(ConfigError, match="needs a radius"):
        universal(model, x, y, threat.at(None), draws=draws)
    with pytest.raises(ConfigError, match="epochs must be at least 1"):
        universal(model, x, y, threat, draws=draws, epochs=0)
    with pytest.raises(ConfigError, match="labels belong to images"):
        universal(model, x, y, threat, draws=draws, labels=y)
    with pytest.raises(ConfigError, match="images must be"):
        universal(model, x, y, threat, draws=draws, images=x[:, :, :3])
    for wrong, message in (
        ({"images": x * 255}, r"images: images must lie in \[0, 1\]"),
        ({"images": (x * 255).byte()}, "images must be float32 in .*, got torch.uint8"),
        ({"images": x * math.nan}, "got values that are no numbers"),
        ({"images": x[:0], "labels": y[:0]}, r"with N >= 1, got shape \(0, 1, 6, 6\)"),
        ({"images": x, "labels": y[:1]}, r"labels must be \(2,\) whole numbers"),
        ({"images": x, "labels": y.float()}, r"labels must be \(2,\) whole numbers, got torch.float32"),
        ({"images": x, "labels": y + 4}, r"labels must lie in 0 \.\. 3"),
    ):
        for method, its in ((universal, threat), (universal_patch, ThreatModel(0, 12))):
            with pytest.raises(ConfigError, match=message):
                method(model, x, y, its, draws=draws, **wrong)
    with pytest.raises(ConfigError, match="labels must say which class"):
        universal(model, x, (y + 1) % 4, threat, draws=draws, images=x, targeted=True)
