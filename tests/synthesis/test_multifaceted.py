"""Facets: one picture for each group of the images that a unit likes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import logit
from advbench.synthesis.visualize.facets import find_facets, penultimate
from advbench.synthesis.visualize.multifaceted import multifaceted
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net

DRAWS = Draws(0, torch.arange(1))


def two_kinds(count: int = 12) -> Tensor:
    """Bright above, or bright below, in turn."""
    noise = 0.1 * torch.rand(count, 3, 13, 10, generator=torch.Generator().manual_seed(0))
    noise[::2, :, :6] += 0.8
    noise[1::2, :, 6:] += 0.8
    return noise


def brightness_net() -> nn.Module:
    """Rows above and rows below are its two features; the class likes both."""
    with torch.no_grad():
        first, last = nn.Conv2d(3, 1, 1, bias=False), nn.Linear(2, 2)
        first.weight.fill_(1.0)
        last.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    return nn.Sequential(first, nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), last).eval()


def test_planted_groups_become_facets_with_starts_of_their_own() -> None:
    found = find_facets(brightness_net(), logit(0), two_kinds(), most=5)
    assert len(found.start) == 2
    assert found.silhouette > 0.8
    kinds = [{place % 2 for place in places} for places in found.members]
    assert sorted(map(len, kinds)) == [1, 1]
    assert kinds[0] != kinds[1]
    for start, places in zip(found.start, found.members, strict=True):
        torch.testing.assert_close(start, two_kinds()[places].mean(0))


def test_only_the_liked_images_count_and_few_are_one_facet() -> None:
    images = two_kinds()
    images[3:] -= 0.5
    one = find_facets(brightness_net(), logit(0), images, liked=3, most=4)
    assert one.members[0] != []
    assert set(one.members[0]) <= {0, 1, 2}
    assert len(one.start) == 1
    assert penultimate(brightness_net(), images[:1]) == "2"


def test_each_facet_climbs_and_the_model_is_left_alone() -> None:
    model = pooled_net().train()
    before = state_of(model)
    pictures = multifaceted(model, "class:1", draws=DRAWS, images=two_kinds(), facets=3, steps=30, variation=0.0)
    assert state_of(model) == before
    starts = find_facets(model.eval(), logit(1), two_kinds(), most=3).start
    assert pictures.shape == starts.shape
    assert bool((model(pictures)[:, 1] > model(starts)[:, 1]).all())
    assert 0.0 <= float(pictures.min()) < float(pictures.max()) <= 1.0
    with pytest.raises(ConfigError, match="steps"):
        multifaceted(model, "class:1", draws=DRAWS, images=two_kinds(), steps=0)
