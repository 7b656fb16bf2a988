"""Maps are the same where gradients are summed behind the first layer of a cheaper network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from advbench.attributions.cheaper import cheaper, entry_of
from advbench.attributions.integrated_gradients import integrated_gradients
from advbench.attributions.smooth_grad import smooth_grad
from advbench.core.draws import Draws
from advbench.core.targets import as_target


def deep_net(kernel: int) -> nn.Module:
    """Three-channel images of 16 x 16, 4 classes; the first layer has 3 * kernel**2 products in each value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, kernel, stride=2, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(4),
        ).eval()


@pytest.mark.parametrize("kernel", [3, 7])
def test_maps_of_many_passes_are_those_of_few(kernel: int) -> None:
    """Alone an image takes too few passes for a copy of the network to pay; in a batch it gets one."""
    model, x = deep_net(kernel), torch.rand(24, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    model(x[:1])
    y, draws = torch.arange(24) % 4, Draws(0, torch.arange(24))
    net = cheaper(model, x, as_target(y), 10)
    assert net is not model
    assert entry_of(net, model) == ("0" if kernel == 7 else None)
    assert entry_of(model, model) is None
    together = smooth_grad(model, x, y, draws=draws, samples=10)
    alone = [
        smooth_grad(model, x[k : k + 1], y[k : k + 1], draws=draws.rows(torch.tensor([k])), samples=10) for k in (0, 23)
    ]
    assert torch.allclose(together[[0, 23]], torch.cat(alone), atol=1e-5)
    together = integrated_gradients(model, x, y, nodes=10, most=10)
    alone = [integrated_gradients(model, x[k : k + 1], y[k : k + 1], nodes=10, most=10) for k in (0, 23)]
    assert torch.allclose(together[[0, 23]], torch.cat(alone), atol=1e-5)
