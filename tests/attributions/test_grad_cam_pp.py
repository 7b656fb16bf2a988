"""grad_cam_pp against its closed form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attributions.grad_cam_pp import grad_cam_pp
from advbench.core.spatial import layer_gradient
from advbench.core.targets import logit, times
from tests.attributions.cam_nets import Means, class_map_net, flat_net, pictures


@given(st.floats(1e-6, 1e3), st.integers(1, 5), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_for_a_constant_gradient_the_weight_is_hw_g_by_2_plus_g_sum(weight: float, height: int, width: int) -> None:
    """Also for gradients whose square would vanish beside a constant put into the denominator."""
    weight = float(torch.tensor(weight))  # as the network holds it, in float32
    model = Means(torch.tensor([[weight, 0.0]])).double()
    x = pictures(2, (1, height, width), torch.float64)
    cells = height * width
    g = weight / cells  # of a mean
    expected = cells * g / (2 + g * x.sum((2, 3), keepdim=True)) * x
    heat = grad_cam_pp(model, x, torch.zeros(2, dtype=torch.int64), layer="conv")
    # The map of `conv` is the image (and its negative, whose gradient is 0): it is positive, as the form assumes.
    assert torch.allclose(heat, expected, rtol=1e-10)


def test_it_is_equation_19_cell_by_cell() -> None:
    model, x, y = flat_net().double(), pictures(3, (3, 8, 8), torch.float64), torch.tensor([0, 1, 2])
    maps, g = layer_gradient(model, x, logit(y), "1")
    alpha = g**2 / (2 * g**2 + maps.sum((2, 3), keepdim=True) * g**3)
    alpha = torch.where(g > 0, alpha, 0.0)
    expected = ((alpha * g.clamp_min(0)).sum((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp_min(0)
    small = grad_cam_pp(model, x, y, layer="1")
    assert torch.allclose(small, torch.nn.functional.interpolate(expected, (8, 8), mode="bilinear"))


def test_gradients_of_zero_and_sums_below_zero_give_finite_maps() -> None:
    silent = grad_cam_pp(class_map_net(), pictures(2, (3, 8, 8)), torch.tensor([3, 3]))
    assert torch.equal(silent, torch.zeros(2, 1, 8, 8))
    model, x = Means(torch.tensor([[4.0, 0.0]])), torch.tensor([[[[-2.0, 1.0], [0.0, -1.0]]]])
    # g = 1 where the ReLU is open (one cell), the sum is -2: 2 + g * sum = 0, so the cell has no weight.
    assert torch.equal(grad_cam_pp(model, x, torch.tensor([0]), layer="conv"), torch.zeros(1, 1, 2, 2))


def test_by_hand_it_does_not_grow_with_the_score() -> None:
    # One map [1, 3] and a mean: g = 1/2, weight = 2 * (1/2) / (2 + 4/2) = 1/4; for ten times the score g = 5 and 10/22.
    model, x = Means(torch.tensor([[1.0, 0.0]])), torch.tensor([[[[1.0, 3.0]]]])
    y = torch.tensor([0])
    assert grad_cam_pp(model, x, y, layer="conv").flatten().tolist() == [0.25, 0.75]
    tenfold = grad_cam_pp(model, x, times(10.0, logit(y)), layer="conv").flatten().tolist()
    assert tenfold == pytest.approx([10 / 22, 30 / 22])
