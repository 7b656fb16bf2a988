"""Layers found by looking, a network with other pooling, colours given to another picture."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.activations import record
from advbench.models.load import load_model
from advbench.synthesis.colour_match import match_brightness, match_colours, match_histogram
from advbench.synthesis.restyled import restyled
from advbench.synthesis.stages import content_layer, named_layers, texture_layers
from advbench.testing.witness import state_of
from advbench.types import ConfigError


def pictures(seed: int = 0, count: int = 1, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def vgg() -> nn.Module:
    return load_model("vgg19_distilled")  # random weights


def test_the_layers_of_a_vgg_are_those_of_the_papers() -> None:
    model, x = vgg(), pictures(side=64)
    assert texture_layers(model, x) == [f"net.relu{i}_1" for i in (1, 2, 3, 4, 5)]
    assert content_layer(model, x) == "net.relu4_2"
    assert content_layer(model, x, part=4, place=2) == "net.relu3_3"
    assert content_layer(model, x, part=2, place=9) == "net.relu2_2"  # there are two


def test_the_usual_names_are_found_in_torchvisions() -> None:
    from torchvision.models import vgg19

    with torch.device("meta"):
        whole = vgg19().features
    model = nn.Sequential(*[_small(module) for module in whole])
    assert named_layers(model, ["relu1_1", "conv4_2", "pool2", "20"], pictures(side=64)) == ["1", "21", "9", "20"]
    with pytest.raises(ConfigError, match="no layer named 'conv6_1'"):
        named_layers(model, ["conv6_1"], pictures(side=64))


def _small(module: nn.Module) -> nn.Module:
    """The module with a sixteenth of its channels."""
    if not isinstance(module, nn.Conv2d):
        return module
    return nn.Conv2d(max(3, module.in_channels // 16), module.out_channels // 16, 3, padding=1)


def test_a_squeezenet_and_a_residual_net_give_wide_layers_behind_nonlinearities() -> None:
    x = pictures(side=128)
    squeeze = load_model("torchvision:squeezenet1_1")
    assert texture_layers(squeeze, x) == [f"net.features.{i}" for i in (1, 3, 6, 11)]
    residual = load_model("preact_resnet18", shape=(3, 32, 32), classes=10, params={"width": 4})
    assert [name.split(".")[1] for name in texture_layers(residual, pictures())] == [f"stage{i}" for i in (1, 2, 3, 4)]


def test_a_head_for_another_image_size_does_not_matter() -> None:
    model = load_model("lenet5", shape=(1, 28, 28), classes=10)
    assert texture_layers(model, torch.rand(1, 1, 64, 64)) == texture_layers(model, torch.rand(1, 1, 28, 28))


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(ConfigError, match="efros_leung and wei_levoy need no network"):
        texture_layers(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), pictures())


def test_average_pooling_shares_weights_and_keeps_the_strength_of_activations() -> None:
    model, x = load_model("vgg19_distilled", params={"last": "relu3_1"}), pictures(count=2, side=64)
    x[1] *= 0.02
    before = state_of(model)
    twin, count = restyled(model, x, pooling="average")
    assert (count, state_of(model)) == (2, before)
    shared = {parameter.data_ptr() for parameter in model.parameters()}
    assert {parameter.data_ptr() for parameter in twin.parameters()} == shared
    with torch.no_grad(), record(model, ["relu3_1"]) as old, record(twin, ["relu3_1"]) as new:
        model(x)
        twin(x)
    ratios = (new["relu3_1"].mean((1, 2, 3)) / old["relu3_1"].mean((1, 2, 3))).tolist()
    assert all(ratio != 1.0 and 0.7 < ratio < 1.3 for ratio in ratios)
    alone, _ = restyled(model, x[1:], pooling="average")
    torch.testing.assert_close(alone(x[1:]), twin(x)[1:])


def test_a_constant_image_is_the_same_under_both_poolings() -> None:
    model, x = vgg(), torch.full((1, 3, 32, 32), 0.7)
    twin, _ = restyled(model, x, pooling="average")
    torch.testing.assert_close(twin(x), model(x))


def test_circular_padding_makes_the_network_blind_to_shifts_around_the_torus() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 5, padding=2)).eval()
    x = pictures()
    twin, count = restyled(model, x, padding="circular")
    torch.testing.assert_close(twin(x.roll(7, 3)), twin(x).roll(7, 3))
    assert count == 0
    assert model[0].padding_mode == "zeros"


def test_words_and_networks_that_do_not_fit_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert restyled(model, pictures())[0] is model
    with pytest.raises(ConfigError, match="no MaxPool2d"):
        restyled(model, pictures(), pooling="average")
    with pytest.raises(ConfigError, match="pooling must be one of"):
        restyled(model, pictures(), pooling="max")


@given(st.integers(0, 50))
def test_colour_statistics_become_those_of_the_sample(seed: int) -> None:
    x, y = pictures(seed, 2).double(), pictures(seed + 1, 2, 16).double() ** 2
    made = match_colours(x, y).flatten(2)
    wanted = y.flatten(2)
    torch.testing.assert_close(made.mean(2), wanted.mean(2), atol=1e-6, rtol=0)
    assert all(torch.allclose(made[i].cov(correction=0), wanted[i].cov(correction=0), atol=1e-6) for i in range(2))


@given(st.integers(0, 50))
def test_histograms_become_those_of_the_sample(seed: int) -> None:
    x, y = pictures(seed, 2), pictures(seed + 1, 2) ** 2
    made = match_histogram(x, y)
    torch.testing.assert_close(made.flatten(2).sort(2).values, y.flatten(2).sort(2).values)
    order = x.flatten(2).argsort(dim=2, stable=True)
    assert bool((made.flatten(2).gather(2, order).diff(dim=2) >= 0).all())
    torch.testing.assert_close(match_histogram(x, x), x)


def test_a_larger_picture_gets_the_samples_quantiles() -> None:
    x = torch.linspace(0, 1, 8).reshape(1, 1, 2, 4)
    made = match_histogram(x, torch.tensor([[[[0.5, 0.1]]]]))
    assert made[0, 0, 0, 0] == 0.1
    assert made[0, 0, 1, 3] == 0.5
    assert float(made.mean()) == pytest.approx(0.3)


def test_brightness_of_one_and_chroma_of_the_other() -> None:
    x, y = pictures(0), pictures(1)
    to_yuv = torch.tensor([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]])
    made, first, second = (torch.einsum("ij,bjhw->bihw", to_yuv, each) for each in (match_brightness(x, y), x, y))
    torch.testing.assert_close(made[:, 0], first[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(made[:, 1:], second[:, 1:], atol=1e-3, rtol=0)
