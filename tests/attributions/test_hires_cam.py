"""hires_cam: complete where the rest of the network is linear, and Grad-CAM where it is a mean."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.attributions.grad_cam import grad_cam
from advbench.attributions.hires_cam import hires_cam
from advbench.core.spatial import layer_gradient
from advbench.core.targets import logit
from tests.attributions.cam_nets import Means, flat_net, pictures
from tests.attributions.small_nets import pooled_net


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
@settings(deadline=None, max_examples=20)
def test_before_a_flattened_linear_head_it_is_complete_and_grad_cam_is_not(classes: list[int]) -> None:
    model, y = flat_net().double(), torch.tensor(classes)
    x = pictures(len(classes), (3, 8, 8), torch.float64)
    head = model[4]
    assert isinstance(head, nn.Linear)
    without_bias = model(x).gather(1, y[:, None])[:, 0] - head.bias[y]
    # The map of layer 2 has 3 x 3 cells; an image of 3 x 3 would draw it as it is: sum the formula's own cells.
    maps, grad = layer_gradient(model, x, logit(y), "2")
    cells = (maps * grad).sum(1, keepdim=True)
    assert torch.allclose(cells.sum((1, 2, 3)), without_bias, atol=1e-10)
    drawn = torch.nn.functional.interpolate(cells, (8, 8), mode="bilinear")
    assert torch.allclose(hires_cam(model, x, y, layer="2", relu=False), drawn)
    assert torch.allclose(
        hires_cam(model, x, y, layer="2"), torch.nn.functional.interpolate(cells.relu(), (8, 8), mode="bilinear")
    )
    pooled = (maps * grad.mean((2, 3), keepdim=True)).sum((1, 2, 3))
    assert not torch.allclose(pooled, without_bias, rtol=0.01)


def test_in_front_of_a_global_mean_it_is_grad_cam() -> None:
    model, x, y = pooled_net(), pictures(4, (3, 12, 10)), torch.tensor([3, 0, 1, 1])
    for relu in (False, True):
        assert torch.allclose(hires_cam(model, x, y, relu=relu), grad_cam(model, x, y, relu=relu), atol=1e-6)


def test_by_hand() -> None:
    # The score is 2 * mean: each of two pixels has half of its value, and the sum is the score, 4.
    model, x = Means(torch.tensor([[2.0, 5.0]])), torch.tensor([[[[1.0, 3.0]]]])
    assert hires_cam(model, x, torch.tensor([0]), layer="conv").flatten().tolist() == [1.0, 3.0]
