"""score_cam against a loop over channels, and with numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.score_cam import score_cam
from advbench.core.gradients import in_pieces
from advbench.core.targets import logit, probability, times
from tests.attributions.cam_nets import Means, flat_net, pictures


def one_by_one(model: nn.Module, maps: Tensor, x: Tensor, label: int, baseline: float) -> Tensor:
    """Algorithm 1 of the paper for one image x (1, C, H, W) with its maps (1, k, h, w), without tricks."""
    scores, size = [], x.shape[2:]
    for channel in range(maps.shape[1]):
        mask = functional.interpolate(maps[:, channel : channel + 1], size, mode="bilinear")
        span = mask.max() - mask.min()
        mask = torch.zeros_like(mask) if span == 0 else (mask - mask.min()) / span
        scores.append(model(baseline * (1 - mask) + x * mask)[0, label])
    alpha = torch.stack(scores).softmax(0)
    total = sum(weight * maps[:, k : k + 1] for k, weight in enumerate(alpha))
    assert isinstance(total, Tensor)
    return functional.interpolate(total.clamp_min(0.0), size, mode="bilinear")


@given(st.integers(1, 4), st.sampled_from([1, 3, 100]), st.sampled_from([0.0, 0.5]), st.booleans())
@settings(deadline=None, max_examples=12)
def test_it_is_the_papers_algorithm(count: int, piece: int, baseline: float, silent: bool) -> None:
    model, x = flat_net(), pictures(count, (3, 8, 8))
    with torch.no_grad():
        if silent:  # a map that is 0 everywhere
            model[0].get_parameter("bias")[1] = -100.0
        maps = model[:2](x)
        y = torch.arange(count) % 4
        expected = torch.cat(
            [one_by_one(model, maps[i : i + 1], x[i : i + 1], int(y[i]), baseline) for i in range(count)]
        )
    with in_pieces(piece):
        heat = score_cam(model, x, y, layer="1", baseline=baseline)
    assert torch.allclose(heat, expected, atol=1e-5)


def test_any_score_will_do_and_a_constant_added_to_it_changes_nothing() -> None:
    model, x, y = flat_net(), pictures(2, (3, 8, 8)), torch.tensor([1, 2])
    raw = score_cam(model, x, y)
    assert not torch.allclose(raw, score_cam(model, x, probability(y)))
    flat = score_cam(model, x, times(0.0, logit(y)), layer="1")  # all channels alike: the mean of the maps
    mean = functional.interpolate(model[:2](x).mean(1, keepdim=True), (8, 8), mode="bilinear")
    assert torch.allclose(flat, mean, atol=1e-6)
    with torch.no_grad():
        model[4].get_parameter("bias").add_(7.0)
    assert torch.allclose(score_cam(model, x, y), raw, atol=1e-5)


def test_by_hand() -> None:
    # Maps of [0, 4]: itself and its negative, [0, -4]. Masks [0, 1] and [1, 0]; seen through them [0, 4] and [0, 0].
    # Scores of class 0, the mean of the first: 2 and 0; alpha = 1 / (1 + e^-2) and its rest; map (2 alpha - 1) [0, 4].
    model, x = Means(torch.tensor([[1.0, 0.0]])), torch.tensor([[[[0.0, 4.0]]]])
    alpha = 1 / (1 + math.exp(-2.0))
    heat = score_cam(model, x, torch.tensor([0]), layer="conv").flatten().tolist()
    assert heat == pytest.approx([0.0, 4 * (2 * alpha - 1)], rel=1e-5)
