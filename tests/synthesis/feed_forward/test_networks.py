"""Style networks: what their normalisation does and does not see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.synthesis.feed_forward.networks import BatchNorm, Block, StyleNorm, TransformNet, network_of
from advbench.synthesis.feed_forward.train_style import paint
from advbench.types import ConfigError


def photos(count: int = 2, height: int = 20, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def network(styles: int = 3) -> TransformNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = TransformNet(styles=styles, widths=(4, 6, 8), blocks=1).eval()
        for name, parameter in net.named_parameters():
            if "scale" in name or "shift" in name:
                nn.init.normal_(parameter)
    return net


@given(st.floats(0.2, 5.0), st.floats(-2.0, 2.0))
def test_instance_norm_does_not_see_contrast_and_brightness_and_batch_norm_does(a: float, b: float) -> None:
    x, mix = 10.0 * photos(), torch.ones(2, 1)
    instance, batch = StyleNorm(3, 1), BatchNorm(3).eval()
    assert torch.allclose(instance(a * x + b, mix), instance(x, mix), atol=1e-3)
    assert torch.allclose(batch(a * x + b, mix), batch(x, mix)) == (abs(a - 1.0) < 1e-6 and abs(b) < 1e-6)


class Nothing(nn.Module):
    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        return x


def test_enlarging_leaves_no_steps_that_repeat_every_second_pixel() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = Block((1, 1), 3, Nothing(), up=True, relu=False)
    ramp = torch.linspace(0.0, 1.0, 12).expand(1, 1, 12, 12)
    y = block(ramp, torch.ones(1, 1)).detach()
    assert y.shape == (1, 1, 24, 24)
    inside = y[..., 4:-4, 4:-4]  # a ramp again: every step to the right is as long as the next
    steps = inside.diff(dim=3)
    assert torch.allclose(steps, steps.mean().expand_as(steps), atol=1e-5)
    assert steps.abs().min() > 1e-4


def test_instance_norm_gives_mean_0_and_variance_1() -> None:
    y = StyleNorm(3, 1)(photos(), torch.ones(2, 1))
    variance = photos().var((2, 3), unbiased=False)
    assert torch.allclose(y.mean((2, 3)), torch.zeros(2, 3), atol=1e-6)
    assert torch.allclose(y.var((2, 3), unbiased=False), variance / (variance + 1e-5), atol=1e-5)


@settings(max_examples=10)
@given(st.integers(9, 23), st.integers(9, 23))
def test_pictures_have_the_photographs_size_and_values_in_the_box(height: int, width: int) -> None:
    y = paint(network(), photos(2, height, width))
    assert y.shape == (2, 3, height, width)
    assert 0.0 <= float(y.min()) <= float(y.max()) <= 1.0


def test_a_blend_at_its_ends_is_each_style() -> None:
    net, x = network(), photos()
    for style in range(3):
        shares = [float(style == other) for other in range(3)]
        whole = net(x, torch.tensor([shares, shares]))
        assert torch.allclose(paint(net, x, shares), whole, atol=1e-6)
    half = paint(net, x, [1.0, 1.0, 0.0])
    assert torch.allclose(half, paint(net, x, [0.5, 0.5, 0.0]))
    assert not torch.allclose(half, paint(net, x, [1.0, 0.0, 0.0]), atol=1e-2)
    assert torch.equal(paint(net, x), paint(net, x, [1.0, 0.0, 0.0]))


def test_training_one_style_leaves_the_others_scales_alone() -> None:
    net, x = network(), photos()
    net(x, torch.tensor([[0.0, 1.0, 0.0]]).expand(2, -1)).sum().backward()
    for module in net.modules():
        if isinstance(module, StyleNorm):
            assert module.scale.grad is not None
            assert bool((module.scale.grad[[0, 2]] == 0).all())
            assert bool((module.scale.grad[1] != 0).any())


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_network_is_found_again_from_its_weights(norm: str) -> None:
    net = TransformNet(styles=2 if norm == "instance" else 1, widths=(4, 6, 8), blocks=2, norm=norm).eval()  # type: ignore[arg-type]
    again = network_of(net.state_dict())
    assert torch.equal(again(photos()), net(photos()))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds one style, got 2"):
        TransformNet(styles=2, norm="batch")
    with pytest.raises(ConfigError, match="not the weights of a style network"):
        network_of({"fc.weight": torch.zeros(2, 2)})
    with pytest.raises(ConfigError, match="do not fit a style network"):
        network_of({name: value[:1] for name, value in network().state_dict().items()})
    with pytest.raises(ConfigError, match="mix must be 3 shares"):
        paint(network(), photos(), [1.0, 2.0])
