"""Networks of pre-activation blocks: what PreAct-ResNet and Wide ResNet share. He et al. 2016, arXiv:1603.05027."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from advbench.models.normalize import Normalized, cifar_normalized


class PreActBlock(nn.Module):
    """Norm, ReLU, convolve, twice; plus the input, or a 1 x 1 convolution of the first activation if shapes differ.

    (B, inputs, H, W) -> (B, outputs, H / stride, W / stride), rounded up.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.norm1(x))
        skipped: Tensor = x if self.shortcut is None else self.shortcut(active)
        branch: Tensor = self.conv2(self.relu2(self.norm2(self.conv1(active))))
        return skipped + branch


def preact_network(channels: int, classes: int, *, stem: int, widths: Sequence[int], blocks: int) -> Normalized:
    """The CIFAR layout: a 3 x 3 stem, a stage of `blocks` blocks per width, norm, ReLU, mean over space, linear.

    Every stage but the first halves the image. Normalisation is CIFAR-10's for three channels, else 0.5 and 0.5.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(channels, stem, 3, padding=1, bias=False))
    for number, (inputs, outputs) in enumerate(pairwise([stem, *widths]), start=1):
        first = PreActBlock(inputs, outputs, stride=1 if number == 1 else 2)
        rest = [PreActBlock(outputs, outputs, stride=1) for _ in range(blocks - 1)]
        layers[f"stage{number}"] = nn.Sequential(first, *rest)
    layers["norm"] = nn.BatchNorm2d(widths[-1])
    layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["head"] = nn.Linear(widths[-1], classes)
    network = nn.Sequential(layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return cifar_normalized(network, channels)
