"""guided_grad_cam is the product of its two parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.attributions.grad_cam import grad_cam
from advbench.attributions.guided_backprop import guided_backprop
from advbench.attributions.guided_grad_cam import guided_grad_cam
from advbench.core.targets import unit
from advbench.types import ConfigError
from tests.attributions.cam_nets import Means, flat_net, pictures
from tests.attributions.small_nets import tiny_vit


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.sampled_from([None, "0", "2"]))
@settings(deadline=None, max_examples=15)
def test_it_is_the_product_of_its_parts(classes: list[int], layer: str | None) -> None:
    model, x, y = flat_net(), pictures(len(classes), (3, 8, 8)), torch.tensor(classes)
    warm = grad_cam(model, x, y, layer=layer)
    product = guided_grad_cam(model, x, y, layer=layer)
    torch.testing.assert_close(product, guided_backprop(model, x, y) * warm, rtol=1e-5, atol=1e-9)
    assert product.shape == x.shape
    assert not product[warm.expand_as(x) == 0].any()


def test_by_hand() -> None:
    # Score 2 * mean of [1, 3]: the signal down is 1 at both pixels, Grad-CAM at the map is 1 * [1, 3].
    model, x = Means(torch.tensor([[2.0, 0.0]])), torch.tensor([[[[1.0, 3.0]]]])
    assert guided_grad_cam(model, x, torch.tensor([0]), layer="conv").flatten().tolist() == [1.0, 3.0]


def test_both_factors_come_from_one_forward_pass() -> None:
    model, passes = flat_net(), 0

    def count(module: nn.Module, inputs: object) -> None:
        nonlocal passes
        passes += 1

    handle = model.register_forward_pre_hook(count)
    guided_grad_cam(model, pictures(3, (3, 8, 8)), torch.tensor([0, 1, 2]), layer="2")
    handle.remove()
    assert passes == 1


def test_negative_signals_count_for_the_places_and_not_for_the_lines() -> None:
    """A rule that stayed switched would give Grad-CAM guided weights: here the two differ."""
    relu = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2), nn.ReLU())
    model = relu.append(nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[3].weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        model[3].bias.zero_()
        model[5].weight.copy_(torch.tensor([[2.0, -1.0]]))
    x = torch.tensor([[[[1.0, 3.0]]]])
    # Score 2 (a + b) - b. Down to the map: plain (2, 1), whose mean weighs [1, 3]; guided lets only the 2 pass.
    heat = guided_grad_cam(model, x, torch.tensor([0]), layer="1")
    assert heat.flatten().tolist() == [2.0 * 1.5, 2.0 * 4.5]


def test_a_target_inside_the_network_and_what_does_not_reach_the_layer() -> None:
    model, x = flat_net(), pictures(2, (3, 8, 8))
    inner = unit("2", 1)
    product = guided_backprop(model, x, inner) * grad_cam(model, x, inner, layer="0")
    torch.testing.assert_close(guided_grad_cam(model, x, inner, layer="0"), product, rtol=1e-5, atol=1e-9)
    with pytest.raises(ConfigError, match="does not depend on layer '2'"):
        guided_grad_cam(model, x, unit("0", 1), layer="2")


def test_a_network_of_tanh_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    with pytest.raises(ConfigError, match=r"guided_grad_cam changes what passes a ReLU.*gradient"):
        guided_grad_cam(model, pictures(1, (3, 8, 8)), torch.tensor([0]))


def test_a_transformer_is_refused() -> None:
    with pytest.raises(ConfigError, match="GELU"):
        guided_grad_cam(tiny_vit(), pictures(1, (3, 16, 16)), torch.tensor([0]))
