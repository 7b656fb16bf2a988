"""ResNet-18 of pre-activation blocks in the CIFAR layout. He et al. 2016, arXiv:1603.05027."""

from __future__ import annotations

from torch import nn

from advbench.models.preact_network import preact_network
from advbench.models.seeding import seeded
from advbench.registry import model


@model(paper="arXiv:1603.05027")
def preact_resnet18(shape: tuple[int, int, int], classes: int, *, seed: int = 0, width: int = 64) -> nn.Module:
    """Four stages of two blocks, `width` to 8 `width` channels; 11.2 million weights at the usual width of 64."""
    with seeded(seed):
        widths = [width * 2**stage for stage in range(4)]
        return preact_network(shape[0], classes, stem=width, widths=widths, blocks=2)
