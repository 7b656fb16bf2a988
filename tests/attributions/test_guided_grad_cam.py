"""guided_grad_cam is the product of its two parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attributions.grad_cam import grad_cam
from advbench.attributions.guided_backprop import guided_backprop
from advbench.attributions.guided_grad_cam import guided_grad_cam
from advbench.types import ConfigError
from tests.attributions.cam_nets import Means, flat_net, pictures
from tests.attributions.small_nets import tiny_vit


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.sampled_from([None, "0", "2"]))
@settings(deadline=None, max_examples=15)
def test_it_is_the_product_of_its_parts(classes: list[int], layer: str | None) -> None:
    model, x, y = flat_net(), pictures(len(classes), (3, 8, 8)), torch.tensor(classes)
    warm = grad_cam(model, x, y, layer=layer)
    product = guided_grad_cam(model, x, y, layer=layer)
    assert torch.equal(product, guided_backprop(model, x, y) * warm)
    assert product.shape == x.shape
    assert not product[warm.expand_as(x) == 0].any()


def test_by_hand() -> None:
    # Score 2 * mean of [1, 3]: the signal down is 1 at both pixels, Grad-CAM at the map is 1 * [1, 3].
    model, x = Means(torch.tensor([[2.0, 0.0]])), torch.tensor([[[[1.0, 3.0]]]])
    assert guided_grad_cam(model, x, torch.tensor([0]), layer="conv").flatten().tolist() == [1.0, 3.0]


def test_a_transformer_is_refused() -> None:
    with pytest.raises(ConfigError, match="GELU"):
        guided_grad_cam(tiny_vit(), pictures(1, (3, 16, 16)), torch.tensor([0]))
