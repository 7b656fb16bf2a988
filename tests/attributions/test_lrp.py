"""lrp hands the score down without loss, whatever the network is built of, and leaves the network alone."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.input_x_gradient import input_x_gradient
from advbench.attributions.lrp import lrp
from advbench.core.gradients import in_pieces
from advbench.core.targets import logit, plus, times, unit
from advbench.models.normalize import Normalized
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net, images
from tests.attributions.relu_twins import WAYS, pictures, twin

COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_gamma", "epsilon_gamma_box")
LABELS = torch.tensor([0, 1, 3, 2])


class Residual(nn.Module):
    """A residual network without biases: batch norm without shift, both kinds of pooling, in-place sums and ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.stem = nn.Conv2d(3, 8, 3, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.inner, self.inner_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
            self.head = nn.Linear(8, 4, bias=False)
            for norm in (self.norm, self.inner_norm):
                assert norm.running_var is not None
                norm.running_var.uniform_(0.5, 2.0)
                nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        maps = functional.max_pool2d(functional.relu(self.norm(self.stem(x)), inplace=True), 3, 2, 1)
        inner = self.inner_norm(self.inner(maps))
        inner += maps
        pooled = functional.adaptive_avg_pool2d(functional.relu_(inner), 1)
        scores: Tensor = self.head(functional.dropout(torch.flatten(pooled, 1), training=self.training))
        return scores


def residual() -> nn.Module:
    return Residual().double().eval()


def photos() -> Tensor:
    return torch.rand(4, 3, 15, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_without_biases_the_map_sums_to_the_score(composite: str) -> None:
    heat = lrp(residual(), photos(), LABELS, composite=composite, epsilon=0.0)  # type: ignore[arg-type]
    score = residual()(photos()).detach().gather(1, LABELS[:, None])[:, 0]
    torch.testing.assert_close(heat.flatten(1).sum(1), score, rtol=1e-3, atol=1e-4)


def test_with_epsilon_alone_it_is_input_times_gradient() -> None:
    """In a network of ReLUs without biases the shares of each layer multiply to the derivative."""
    heat = lrp(residual(), photos(), LABELS, composite="epsilon", epsilon=0.0)
    expected = input_x_gradient(residual(), photos(), LABELS)
    assert torch.allclose(heat, expected, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("composite", COMPOSITES)
def test_it_does_not_matter_how_the_relu_is_called(way: str, composite: str) -> None:
    expected = lrp(twin("modules"), pictures(), LABELS, composite=composite)  # type: ignore[arg-type]
    assert torch.allclose(lrp(twin(way), pictures(), LABELS, composite=composite), expected)  # type: ignore[arg-type]
    assert bool((expected != 0).any())


@pytest.mark.parametrize("composite", COMPOSITES)
def test_a_batch_norm_is_one_layer_with_its_convolution(composite: str) -> None:
    model = Residual().double().eval()
    merged = Residual().double().eval()
    with torch.no_grad():
        for conv, norm in ((merged.stem, merged.norm), (merged.inner, merged.inner_norm)):
            assert norm.running_var is not None
            conv.weight.mul_((norm.weight / (norm.running_var + norm.eps).sqrt()).reshape(-1, 1, 1, 1))
    merged.norm = merged.inner_norm = nn.Identity()  # type: ignore[assignment]
    expected = lrp(merged, photos(), LABELS, composite=composite)  # type: ignore[arg-type]
    assert torch.allclose(lrp(model, photos(), LABELS, composite=composite), expected, rtol=1e-6)  # type: ignore[arg-type]


def test_by_hand() -> None:
    """Pixels 1 and 2 weigh 3 and -1; the mean and the difference in front pass relevance on."""

    class Shifted(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return functional.linear(((z - 0.5) / 0.5).flatten(1), torch.tensor([[3.0, -1.0]])).relu()

    x = torch.tensor([[[[0.75, 1.0]]]])  # normalised: 0.5 and 1, so that the score is 1.5 - 1
    heat = lrp(Shifted(), x, torch.tensor([0]), epsilon=0.0)
    assert torch.allclose(heat, torch.tensor([[[[1.5, -1.0]]]]))


def test_the_box_belongs_to_pixels_between_zero_and_one() -> None:
    """With the normalisation inside, the box is that of the normalised pixels: no relevance is negative."""
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 13 * 10, 4))
    model = Normalized(net, (0.5, 0.4, 0.3), (0.2, 0.3, 0.2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    heat = lrp(model, photos().float(), LABELS, composite="epsilon_gamma_box")
    assert float(heat.min()) > -1e-6
    assert bool((heat > 0).any())


def test_targets_start_with_value_times_derivative() -> None:
    model, x = residual(), photos()
    both = lrp(model, x, plus(logit(LABELS), times(-2.0, logit(3))))
    parts = lrp(model, x, LABELS), lrp(model, x, logit(3))
    assert torch.allclose(both, parts[0] - 2.0 * parts[1], atol=1e-10)
    inside = lrp(model, x, unit("inner", 2, (1, 1)), composite="epsilon", epsilon=0.0)
    assert torch.allclose(inside, input_x_gradient(model, x, unit("inner", 2, (1, 1))), atol=1e-4)


def test_pieces_do_not_matter_and_few_samples_do_not_either() -> None:
    x, y, _ = images(conv_net(), 5)
    whole = lrp(conv_net(), x, y)
    for size in (1, 3):
        with in_pieces(size):
            assert torch.allclose(lrp(conv_net(), x, y), whole, atol=1e-5)
    assert lrp(conv_net(), x[:0], y[:0]).shape == (0, 1, 6, 6)


@pytest.mark.parametrize("name", ["vit_b_16", "convnext_tiny", "mobilenet_v3_small"])
@pytest.mark.slow
def test_networks_without_a_rule_are_refused_and_left_alone(name: str) -> None:
    model = torchvision.models.get_model(name)
    x = torch.rand(1, 3, 224, 224)
    modes = [module.training for module in model.modules()]
    with pytest.raises(ConfigError, match=r"lrp has no rule for .*integrated_gradients"):
        lrp(model, x, torch.tensor([0]))
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_products_and_normalised_layers_are_refused_by_name() -> None:
    class Gated(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return (z * z.mean((2, 3), keepdim=True)).flatten(1)

    for model, told in (
        (Gated(), "mul of two activations"),
        (nn.Sequential(nn.LayerNorm(12).double(), nn.Flatten()), "layer_norm"),
        (nn.Sequential(nn.Flatten(), nn.Softmax(1)), "softmax"),
    ):
        before = state_of(model)
        with pytest.raises(ConfigError, match=f"lrp has no rule for {told}"):
            lrp(model, photos(), LABELS)
        assert state_of(model) == before


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="no composite 'alpha'; there are: epsilon, epsilon_plus"):
        lrp(residual(), photos(), LABELS, composite="alpha")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must not be negative, got -1"):
        lrp(residual(), photos(), LABELS, epsilon=-1.0)
    with pytest.raises(ConfigError, match="calls no convolution"):
        lrp(nn.Flatten(), photos(), LABELS, composite="epsilon_gamma_box")
