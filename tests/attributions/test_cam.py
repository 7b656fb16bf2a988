"""cam against the score it splits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.cam import cam
from advbench.core.gradients import in_pieces
from advbench.core.targets import logit, parse_target, plus, probability, times
from advbench.types import ConfigError
from tests.attributions.cam_nets import Means, class_map_net, flat_net, pictures
from tests.attributions.small_nets import pooled_net, tiny_vit


def linear_head(model: nn.Sequential) -> nn.Linear:
    head = model[-1]
    assert isinstance(head, nn.Linear)
    return head


@given(st.integers(5, 20), st.integers(5, 20), st.lists(st.integers(0, 3), min_size=1, max_size=3))
@settings(deadline=None, max_examples=25)
def test_the_mean_of_the_map_and_the_bias_are_the_score(height: int, width: int, classes: list[int]) -> None:
    # Odd sides: the maps of the strided convolution are half of the image and one cell, enlarged without a law for the
    # mean. The law is of the small map, so the network here keeps the image's size.
    model = pooled_net().double()
    model[2].stride = (1, 1)  # type: ignore[assignment]
    x, y = pictures(len(classes), (3, height, width), torch.float64), torch.tensor(classes)
    total = cam(model, x, y).mean((1, 2, 3)) + linear_head(model).bias[y]
    assert torch.allclose(total, model(x).gather(1, y[:, None])[:, 0], atol=1e-10)


@pytest.mark.parametrize("relu", [False, True])
def test_it_is_the_linear_layers_weights_on_the_averaged_maps(relu: bool) -> None:
    model, x, y = pooled_net(), pictures(4, (3, 12, 10)), torch.tensor([0, 3, 1, 1])
    small = torch.einsum("bk,bkhw->bhw", linear_head(model).weight[y], model[:4](x))[:, None]
    expected = functional.interpolate(small.clamp_min(0.0) if relu else small, (12, 10), mode="bilinear")
    with in_pieces(3):
        assert torch.allclose(cam(model, x, y, relu=relu), expected, atol=1e-6)


def test_a_difference_of_scores_is_the_difference_of_the_maps() -> None:
    model, x = pooled_net(), pictures(3, (3, 12, 10))
    both = cam(model, x, plus(logit(2), times(-1.0, logit(0))))
    apart = cam(model, x, torch.full((3,), 2)) - cam(model, x, torch.zeros(3, dtype=torch.int64))
    assert torch.allclose(both, apart, atol=1e-6)


def test_where_the_maps_are_the_scores_it_is_the_map_of_the_class() -> None:
    model, x = class_map_net(), pictures(2, (3, 8, 8))
    y = torch.tensor([1, 3])
    heat = cam(model, x, y)
    assert torch.allclose(heat[0, 0], model[:4](x)[0, 1], atol=1e-6)
    assert not heat[1].any()  # class 3 is silent: zeros, nothing undefined


def test_by_hand_with_a_mean_that_is_no_module() -> None:
    # Two pixels, 1 and 3; the second map is relu(-x) = 0. The score of class 0 is 2 * mean = 4.
    model, x = Means(torch.tensor([[2.0, 5.0], [-1.0, 0.0]])), torch.tensor([[[[1.0, 3.0]]]])
    assert cam(model, x, torch.tensor([0])).tolist() == [[[[2.0, 6.0]]]]
    assert cam(model, x, torch.tensor([1])).tolist() == [[[[-1.0, -3.0]]]]


class HiddenHead(nn.Sequential):
    def __init__(self, middle: nn.Module) -> None:
        super().__init__(*list(pooled_net())[:6], middle, nn.Linear(8, 4))


class Bypass(nn.Module):
    """Its score reads the image beside the pooled maps too."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled = pooled_net()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.pooled(x)
        return logits + x.flatten(1).amax(1, keepdim=True)


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        (flat_net(), "class:0", "takes no mean over all of a map; hires_cam and grad_cam"),
        (tiny_vit(), "class:0", "takes no mean over all of a map"),
        (HiddenHead(nn.Sequential(nn.Linear(8, 8), nn.ReLU())).eval(), "class:0", "no linear function"),
        (HiddenHead(nn.LayerNorm(8)).eval(), "class:0", "no linear function"),
        (HiddenHead(nn.Tanh()).eval(), "class:0", "no linear function"),
        (Bypass().eval(), "class:0", "no linear function"),
        (pooled_net(), "log_prob:0", "log_prob:0 is no linear function"),
        (pooled_net(), "0:1", "does not depend on the global mean"),
    ],
)
def test_models_and_scores_without_cam_are_refused(model: nn.Module, text: str, message: str) -> None:
    size = {"Sequential": 8, "VisionTransformer": 16}.get(type(model).__name__, 8)
    with pytest.raises(ConfigError, match=message):
        cam(model, pictures(2, (3, size, size)), parse_target(text))


def test_a_probability_is_refused_for_each_of_several_images_alike() -> None:
    with pytest.raises(ConfigError, match="prob:y"):
        cam(pooled_net(), pictures(2, (3, 8, 8)), probability(torch.tensor([0, 1])))
