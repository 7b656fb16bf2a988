"""guided_backprop: the lecture's example, and where it is the gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.attributions.deconvnet import deconvnet
from advbench.attributions.gradient import gradient
from advbench.attributions.guided_backprop import guided_backprop
from advbench.core.targets import of_output
from advbench.types import ConfigError
from tests.attributions.relu_twins import WAYS, pictures, twin

SEEN = torch.tensor([[[[1.0, -1.0, 5.0], [2.0, -5.0, -7.0], [-3.0, 2.0, 4.0]]]])
SIGNAL = torch.tensor([[-2.0, 3.0, -1.0], [6.0, -3.0, 1.0], [2.0, -1.0, 3.0]])
LABELS = torch.tensor([0, 1, 3, 2])


def test_the_example_of_the_lecture() -> None:
    """Springenberg et al. 2015, figure 1 b: what one ReLU passes of a signal, by each of the three rules."""
    read = of_output(lambda output: (output * SIGNAL).flatten(1).sum(1))
    assert gradient(nn.ReLU(), SEEN, read)[0, 0].tolist() == [[-2, 0, -1], [6, 0, 0], [0, -1, 3]]
    assert deconvnet(nn.ReLU(), SEEN, read)[0, 0].tolist() == [[0, 3, 0], [6, 0, 1], [2, 0, 3]]
    assert guided_backprop(nn.ReLU(), SEEN, read)[0, 0].tolist() == [[0, 0, 0], [6, 0, 0], [0, 0, 3]]


def test_at_an_input_of_exactly_zero_nothing_passes() -> None:
    read = of_output(lambda output: output.flatten(1).sum(1))
    zero = torch.zeros(1, 1, 2, 2)
    assert torch.equal(guided_backprop(nn.ReLU(), zero, read), zero)
    assert torch.equal(gradient(nn.ReLU(), zero, read), zero)
    assert torch.equal(deconvnet(nn.ReLU(), zero, read), torch.ones_like(zero))


def positive() -> nn.Module:
    model = twin("modules")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    return model


def test_where_nothing_is_negative_all_three_are_the_gradient() -> None:
    x = pictures().abs()
    expected = gradient(positive(), x, LABELS)
    assert bool((expected > 0).any())
    assert torch.equal(guided_backprop(positive(), x, LABELS), expected)
    assert torch.equal(deconvnet(positive(), x, LABELS), expected)


def by_hand(x: Tensor, y: Tensor) -> Tensor:
    """The whole way down with its own formulas: transposed filters, switches, two masks at each ReLU."""
    net = twin("modules")
    one = net.first(x)
    pooled, switches = nn.MaxPool2d(2, return_indices=True)(one.relu())
    two = net.second(pooled)
    signal = net.head.weight[y].reshape(two.shape)
    signal = signal.clamp_min(0.0) * (two > 0)
    signal = nn.functional.conv_transpose2d(signal, net.second.weight)
    signal = nn.MaxUnpool2d(2)(signal, switches)
    signal = signal.clamp_min(0.0) * (one > 0)
    return nn.functional.conv_transpose2d(signal, net.first.weight)


@pytest.mark.parametrize("way", WAYS)
def test_however_the_relu_is_called_it_is_the_way_down_written_out(way: str) -> None:
    heat = guided_backprop(twin(way), pictures(), LABELS)
    torch.testing.assert_close(heat, by_hand(pictures(), LABELS).detach(), rtol=1e-10, atol=1e-14)
    assert not torch.allclose(heat, gradient(twin(way), pictures(), LABELS))


def test_other_activations_are_refused_and_alternatives_named() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 4)).double()
    with pytest.raises(ConfigError, match="guided_backprop is defined for ReLU, and this model uses GELU; gradient"):
        guided_backprop(model, pictures(), LABELS)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Sigmoid(), nn.Identity()])
def test_a_network_without_a_relu_is_refused(activation: nn.Module) -> None:
    """Its map would be the gradient under another name."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), activation, nn.Linear(8, 4)).double()
    with pytest.raises(ConfigError, match=r"guided_backprop changes what passes a ReLU.*calls none.*; gradient"):
        guided_backprop(model, pictures(), LABELS)
