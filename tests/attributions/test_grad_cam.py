"""grad_cam against networks on which it has a closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.grad_cam import grad_cam
from advbench.types import ConfigError


def pooled_net(in_place: bool = False) -> nn.Sequential:
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


def pictures() -> Tensor:
    return torch.rand(4, 3, 12, 9, generator=torch.Generator().manual_seed(0))


def class_map(model: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Zhou et al. 2016: the last maps weighted with the class's row of the linear layer, by h w; (B, 1, h, w)."""
    maps = model[:3](x)
    weight = model[5].weight[y]  # type: ignore[index, union-attr]
    return torch.einsum("bk,bkhw->bhw", weight, maps)[:, None] / maps[0, 0].numel()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_in_front_of_a_global_mean_it_is_the_class_activation_map(in_place: bool, relu: bool) -> None:
    model, x, y = pooled_net(in_place), pictures(), torch.tensor([0, 5, 2, 2])
    expected = class_map(pooled_net(), x, y)
    expected = functional.interpolate(expected.clamp_min(0.0) if relu else expected, (12, 9), mode="bilinear")
    heat = grad_cam(model, x, y, relu=relu)
    assert heat.shape == (4, 1, 12, 9)
    assert torch.allclose(heat, expected, atol=1e-6)
    assert bool((heat < 0).any()) != relu


def test_it_is_local() -> None:
    """A network that looks at brightness: the map is high at the bright corner and nowhere else."""
    conv = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.bias.fill_(0.0)  # type: ignore[union-attr]
    head = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    model = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, :2, 6:] = 1.0
    assert torch.allclose(grad_cam(model, x, torch.tensor([0])), x / 64)
    assert torch.equal(grad_cam(model, x, torch.tensor([1])), torch.zeros_like(x))


def test_a_named_layer_and_a_score_times_ten() -> None:
    model, x, y = pooled_net(), pictures(), torch.tensor([1, 1, 4, 0])
    early = grad_cam(model, x, y, layer="0")
    assert not torch.allclose(early, grad_cam(model, x, y))
    with torch.no_grad():
        model[5].weight.mul_(10.0)  # type: ignore[operator, union-attr]
    assert torch.allclose(grad_cam(model, x, y, layer="0"), 10.0 * early, rtol=1e-4, atol=1e-6)


def test_models_and_layers_that_do_not_fit_are_refused() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(108 * 3, 2))
    with pytest.raises(ConfigError, match="no convolution"):
        grad_cam(flat, pictures(), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ConfigError, match=r"layer '5' has an output of shape \(4, 6\)"):
        grad_cam(pooled_net(), pictures(), torch.zeros(4, dtype=torch.int64), layer="5")
    with pytest.raises(ConfigError, match="no layer named 'stem'"):
        grad_cam(pooled_net(), pictures(), torch.zeros(4, dtype=torch.int64), layer="stem")
