"""Alignment of gradient and image: a length for linear scores, blind to the gradient's scale."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from advbench.core.targets import logit, plus, times
from advbench.diagnostics.alignment import alignment
from tests.attacks.small_nets import conv_net, images


@given(st.floats(0.01, 100), st.integers(0, 20))
def test_the_scale_of_the_score_does_not_matter(factor: float, seed: int) -> None:
    model = conv_net()
    x, y, _ = images(model, 4, seed)
    plain, scaled = alignment(model, x, y), alignment(model, x, times(factor, logit(y)))
    assert_close(scaled.projection, plain.projection, atol=1e-4, rtol=1e-4)
    assert bool(((plain.cosine >= 0) & (plain.cosine <= 1)).all())


def test_a_linear_margin_without_bias_is_the_distance_to_the_boundary() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False)).double()
    x = torch.rand(5, 3, 2, 2, dtype=torch.float64)
    (head,) = (module for module in model if isinstance(module, nn.Linear))
    normal = head.weight[0] - head.weight[1]
    distance = (x.flatten(1) @ normal).abs() / normal.norm()
    found = alignment(model, x, plus(logit(0), times(-1.0, logit(1))))
    assert_close(found.projection, distance.detach())
    assert_close(found.cosine, distance.detach() / x.flatten(1).norm(dim=1))


def test_a_gradient_along_the_image_has_cosine_one_from_its_origin() -> None:
    class Energy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - 0.5).square().flatten(1).sum(1, keepdim=True)

    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert_close(alignment(Energy(), x, origin=0.5).cosine, torch.ones(3))
    assert bool((alignment(Energy(), x).cosine < 0.9).all())


def test_no_gradient_and_no_image_are_zero() -> None:
    dead = nn.Sequential(nn.Flatten(), nn.Threshold(2.0, 0.0), nn.Linear(4, 3))
    assert not alignment(dead, torch.rand(2, 1, 2, 2)).projection.any()
    linear = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    found = alignment(linear, torch.zeros(1, 1, 2, 2))
    assert (found.projection.item(), found.cosine.item()) == (0.0, 0.0)


def test_the_predicted_class_is_the_default() -> None:
    model = conv_net()
    x, y, _ = images(model, 4)
    assert torch.equal(alignment(model, x).projection, alignment(model, x, y).projection)
