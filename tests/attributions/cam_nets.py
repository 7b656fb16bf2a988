"""Networks on which the methods of the CAM family have closed forms."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def flat_net() -> nn.Sequential:
    """conv, ReLU, max pooling, flatten, linear: the score is linear in the maps, cell by cell; 3 x 8 x 8 images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 3 * 3, 4)
        ).eval()


def class_map_net() -> nn.Sequential:
    """A head as SqueezeNet's: one map per class, ReLU, global mean, no linear layer. Class 3 is silent everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 4, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
    with torch.no_grad():
        last = net[2].bias
        assert isinstance(last, Tensor)
        last[3] = -100.0
    return net.eval()


class Means(nn.Module):
    """conv, ReLU, mean, `weights` (classes, 2), written with functions: the pooling is no module."""

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0])[:, None, None, None])
        self.register_buffer("weights", weights)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x)).mean((2, 3)) @ self.weights.T


class Tokens(nn.Module):
    """Brightness of patches of 4 as tokens (B, extra + h w, 1), behind `extra` tokens of 100; class 0 is the mean."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.patches, self.same, self.head = nn.Conv2d(1, 1, 4, stride=4, bias=False), nn.Linear(1, 1), nn.Linear(1, 2)
        self.extra = extra
        with torch.no_grad():
            self.patches.weight.fill_(1 / 16)
            for parameter, value in zip([*self.same.parameters(), *self.head.parameters()], (1, 0, 1, 0), strict=True):
                parameter.fill_(value)
            self.head.weight[1] = -1.0

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.new_full((len(x), self.extra, 1), 100.0), tokens], 1)
        logits: Tensor = self.head(self.same(tokens).mean(1))
        return logits


def pictures(count: int, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> Tensor:
    """(count, *shape) in [0, 1], always the same."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
