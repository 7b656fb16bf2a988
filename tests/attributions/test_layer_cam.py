"""layer_cam: positive gradients, cell by cell."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from advbench.attributions.hires_cam import hires_cam
from advbench.attributions.layer_cam import layer_cam
from advbench.core.spatial import layer_gradient
from advbench.core.targets import logit, plus, times
from tests.attributions.cam_nets import Means, flat_net, pictures


@given(st.integers(0, 3), st.sampled_from(["1", "2"]))
@settings(deadline=None, max_examples=8)
def test_a_score_and_its_negative_split_hires_cam(label: int, layer: str) -> None:
    """max(g, 0) - max(-g, 0) = g: the maps of the score and of its negative differ by the map of g A."""
    model, x, score = flat_net(), pictures(2, (3, 8, 8)), logit(label)
    up = layer_cam(model, x, score, layer=layer)
    down = layer_cam(model, x, times(-1.0, score), layer=layer)
    assert torch.allclose(up - down, hires_cam(model, x, score, layer=layer, relu=False), atol=1e-5)
    assert bool((up >= 0).all())


def test_it_is_the_papers_formula() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 6, 4)).eval()
    x, y = pictures(3, (3, 8, 8)), torch.tensor([2, 0, 1])
    maps, grad = layer_gradient(model, x, logit(y), "0")  # no ReLU: activations of both signs
    expected = (grad.relu() * maps).sum(1, keepdim=True)
    assert bool((expected < 0).any())
    for relu in (False, True):
        small = expected.relu() if relu else expected
        wanted = functional.interpolate(small, (8, 8), mode="bilinear")
        assert torch.allclose(layer_cam(model, x, y, layer="0", relu=relu), wanted, atol=1e-6)


def test_by_hand() -> None:
    # Score 2 * mean of [1, 3] less the mean: g = 1/2 everywhere. Its negative has no positive gradient: all zero.
    model, x = Means(torch.tensor([[2.0, 0.0], [1.0, 0.0]])), torch.tensor([[[[1.0, 3.0]]]])
    rise = plus(logit(0), times(-1.0, logit(1)))
    assert layer_cam(model, x, rise, layer="conv").flatten().tolist() == [0.5, 1.5]
    assert layer_cam(model, x, times(-1.0, rise), layer="conv").flatten().tolist() == [0.0, 0.0]
