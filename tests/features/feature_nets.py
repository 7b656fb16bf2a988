"""Small networks whose features are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def detector() -> nn.Module:
    """1 x 12 x 12 images; channel 0 of layer "0" answers to a vertical edge, channel 1 to a horizontal one."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    edge = torch.tensor([[-1.0, 0.0, 1.0]] * 3)
    with torch.no_grad():
        net[0].weight.copy_(torch.stack([edge, edge.T])[:, None])
    return net.eval()


class Fire(nn.Module):
    """Branches of different reach beside each other: channels 0 .. 1 see one place, 2 .. 3 a 3 x 3 square."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x)], 1)


class Shortcut(nn.Module):
    """x + conv(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv(x))


def ladder(seed: int = 0, classes: int = 3) -> nn.Module:
    """Two convolutions with an overlapping pool and a linear layer, for 3 x 19 x 19 images; random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(8 * 16, classes),
        )  # fmt: skip
    return net.eval()


def noise(count: int, shape: tuple[int, int, int] = (3, 19, 19), seed: int = 1) -> Tensor:
    """Images (count, C, H, W) in [0, 1]."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
