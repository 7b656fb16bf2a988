"""grad_cam against networks on which it has a closed form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.cam import cam
from advbench.attributions.grad_cam import grad_cam
from advbench.core.spatial import layer_gradient, layer_maps
from advbench.core.targets import logit, parse_target, times
from advbench.types import ConfigError
from tests.attributions.cam_nets import Tokens, class_map_net, pictures
from tests.attributions.small_nets import pooled_net, tiny_vit


def pre_relu_net(in_place: bool = False) -> nn.Sequential:
    """conv, ReLU, conv, global mean, linear: Grad-CAM at the last conv is CAM there, divided by h w."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.ReLU(in_place),
            nn.Conv2d(4, 5, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 6),
        ).eval()


@given(st.integers(6, 20), st.integers(6, 20), st.booleans(), st.lists(st.integers(0, 3), min_size=1, max_size=3))
@settings(deadline=None, max_examples=25)
def test_in_front_of_a_global_mean_it_is_cam_by_the_number_of_cells(
    height: int, width: int, relu: bool, classes: list[int]
) -> None:
    model, x, y = (
        pooled_net().double(),
        pictures(len(classes), (3, height, width), torch.float64),
        torch.tensor(classes),
    )
    cells = model[:4](x)[0, 0].numel()
    assert torch.allclose(grad_cam(model, x, y, layer="3", relu=relu), cam(model, x, y, relu=relu) / cells, atol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_the_layer_found_is_the_one_the_mean_is_taken_of(in_place: bool, relu: bool) -> None:
    model, x, y = pre_relu_net(in_place), pictures(4, (3, 12, 9)), torch.tensor([0, 5, 2, 2])
    head = model[5]
    assert isinstance(head, nn.Linear)
    maps = pre_relu_net()[:3](x)  # 8 x 5
    expected = torch.einsum("bk,bkhw->bhw", head.weight[y], maps)[:, None] / 40
    expected = functional.interpolate(expected.clamp_min(0.0) if relu else expected, (12, 9), mode="bilinear")
    heat = grad_cam(model, x, y, relu=relu)
    assert heat.shape == (4, 1, 12, 9)
    assert torch.allclose(heat, expected, atol=1e-6)
    assert bool((heat < 0).any()) != relu


@given(st.floats(0.125, 100.0))
@settings(deadline=None, max_examples=10)
def test_a_score_times_ten_is_a_map_times_ten(factor: float) -> None:
    model, x, y = pre_relu_net(), pictures(3, (3, 9, 12)), torch.tensor([1, 4, 0])
    once, more = grad_cam(model, x, y), grad_cam(model, x, times(factor, logit(y)))
    assert torch.allclose(more, factor * once, rtol=1e-4, atol=1e-6)
    assert torch.allclose(more / more.amax(), once / once.amax(), atol=1e-5)


def bright_net(cell: int) -> nn.Sequential:
    """Brightness, averaged over cells of so many pixels: class 0 likes it, class 1 does not."""
    conv, head = nn.Conv2d(1, 1, cell, stride=cell, bias=False), nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1.0 / cell**2)
        head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


@given(st.integers(0, 5), st.integers(0, 6), st.sampled_from([1, 2, 3, 4, 7]))
@settings(deadline=None, max_examples=25)
def test_a_single_active_cell_peaks_in_its_middle(row: int, column: int, cell: int) -> None:
    x = torch.zeros(1, 1, 6 * cell, 7 * cell)
    x[0, 0, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 1.0
    heat = grad_cam(bright_net(cell), x, torch.tensor([0]))[0, 0]
    inside = heat[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
    assert inside.max() == heat.max()
    places = (heat > heat.max() * (1 - 1e-6)).nonzero().double()
    middle = torch.tensor([row, column]) * cell + (cell - 1) / 2
    # At the border the map is level from the middle of the outermost cell on: those pixels are as high.
    at_border = torch.tensor([row in {0, 5}, column in {0, 6}])
    off = (places.mean(0) - middle).abs()
    assert bool((off <= torch.where(at_border, cell / 2, 0.5)).all())


def test_by_hand() -> None:
    """A corner of 2 x 2 white pixels among 64: each has 1/64 of the score of class 0; class 1 sees nothing for it."""
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, :2, 6:] = 1.0
    assert torch.allclose(grad_cam(bright_net(1), x, torch.tensor([0])), x / 64)
    assert torch.equal(grad_cam(bright_net(1), x, torch.tensor([1])), torch.zeros_like(x))
    assert torch.allclose(grad_cam(bright_net(1), x, torch.tensor([1]), relu=False), -x / 64)


def test_a_silent_class_has_a_map_of_zeros() -> None:
    heat = grad_cam(class_map_net(), pictures(2, (3, 8, 8)), torch.tensor([0, 3]), relu=False)
    assert heat[0].any()
    assert not heat[1].any()


@given(st.integers(0, 2), st.integers(0, 4), st.integers(0, 5))
@settings(deadline=None, max_examples=15)
def test_tokens_become_rows_and_columns_without_those_of_no_patch(row: int, column: int, extra: int) -> None:
    x = torch.zeros(1, 1, 12, 20)
    x[0, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1.0
    heat = functional.avg_pool2d(grad_cam(Tokens(extra), x, torch.tensor([0])), 4)[0, 0]  # 3 x 5 patches
    assert int(heat.argmax()) == 5 * row + column
    # The extra tokens hold 100 each: they would outshine everything.
    assert float(heat.max()) <= 1.0 / (15 + extra)


def swapped(x: Tensor) -> Tensor:
    """x (B, C, 16, 16) with its upper half below and its left half on the right."""
    return x.roll((8, 8), (2, 3))


def test_without_positions_permuted_patches_permute_the_map() -> None:
    model, x, y = tiny_vit(), pictures(3, (3, 16, 16)), torch.tensor([0, 1, 3])
    layer = "encoder.layers.encoder_layer_1.ln_1"
    assert not torch.allclose(layer_maps(model, swapped(x), layer), layer_maps(model, x, layer).roll((2, 2), (2, 3)))
    with torch.no_grad():
        model.encoder.pos_embedding.zero_()  # type: ignore[union-attr, operator]
    maps = layer_maps(model, x, layer)
    assert maps.shape == (3, 16, 4, 4)
    assert torch.allclose(layer_maps(model, swapped(x), layer), maps.roll((2, 2), (2, 3)), atol=1e-5)
    expected = layer_gradient(model, x, logit(y), layer).grad.roll((2, 2), (2, 3))
    assert torch.allclose(layer_gradient(model, swapped(x), logit(y), layer).grad, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("5", r"layer '5' has an output of shape \(4, 6\); it must be"),
        ("stem", "no layer named 'stem'"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layer: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grad_cam(pre_relu_net(), pictures(4, (3, 12, 9)), torch.zeros(4, dtype=torch.int64), layer=layer)


def test_models_without_maps_and_layers_the_score_does_not_read_are_refused() -> None:
    x, y = pictures(2, (3, 16, 16)), torch.tensor([0, 1])
    with pytest.raises(ConfigError, match=r"no convolution .* occlusion work"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), x, y)
    with pytest.raises(ConfigError, match=r"class token only.* first norm of the last block"):
        grad_cam(tiny_vit(), x, y, layer="encoder.layers.encoder_layer_1.ln_2")
    with pytest.raises(ConfigError, match="does not depend on layer '2'"):
        grad_cam(pre_relu_net(), x, parse_target("0:1"), layer="2")
