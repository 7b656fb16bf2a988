"""VGG-19 with a sixteenth of the weights, for texture and style. Wang et al. 2020, arXiv:2003.08436."""

from __future__ import annotations

from torch import nn

from advbench.models.seeding import seeded
from advbench.models.vgg19_network import RELUS, Vgg19, behind_normalisation, check_request
from advbench.registry import model

_WIDTHS = (16, 32, 64, 128, 128)
_ESTIMATED = (64, 128, 256, 512, 512)  # the widths of VGG-19 itself


@model(paper="arXiv:2003.08436")
def vgg19_distilled(
    shape: tuple[int, int, int] = (3, 224, 224), classes: int = 0, *, seed: int = 0, last: str = "relu5_1"
) -> nn.Module:
    """Images (B, 3, H, W) in [0, 1] of any size to the maps (B, C, h, w) of the ReLU `last`; no logits.

    Layers are called relu1_1, relu1_2, pool1, ... A weights file has the keys conv1_1.weight, ... up to the convolution
    before `last`, and for the first layer of each block a 1 x 1 convolution aux1_1, ... from its maps to VGG-19's own,
    with which it was trained; the pass does not use it. Without a file, weights are drawn from `seed`. shape: its
    channels must be 3. classes: not used. Raises ConfigError for a layer that VGG-19 has not.
    """
    check_request("vgg19_distilled", last, shape)
    with seeded(seed):
        network = Vgg19(last, _WIDTHS, {relu: relu.replace("relu", "conv") for relu in RELUS})
        for block in range(1, int(last[4]) + 1):
            aux = nn.Conv2d(_WIDTHS[block - 1], _ESTIMATED[block - 1], 1)
            network.add_module(f"aux{block}_1", aux)
    return behind_normalisation(network)
