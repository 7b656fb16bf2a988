"""VGG-19 cut off behind a ReLU, for texture and style. Simonyan and Zisserman 2014, arXiv:1409.1556."""

from __future__ import annotations

from itertools import count

from torch import nn

from advbench.models.seeding import seeded
from advbench.models.vgg19_network import RELUS, Vgg19, behind_normalisation, check_request
from advbench.registry import model

_WIDTHS = (64, 128, 256, 512, 512)


@model(paper="arXiv:1409.1556")
def vgg19_features(
    shape: tuple[int, int, int] = (3, 224, 224), classes: int = 0, *, seed: int = 0, last: str = "relu5_1"
) -> nn.Module:
    """Images (B, 3, H, W) in [0, 1] of any size to the maps (B, C, h, w) of the ReLU `last`; no logits.

    Layers are called relu1_1, relu1_2, pool1, ... A weights file has torchvision's keys (features.0.weight, ...) up to
    the convolution before `last` and no others. Convolutions reflect their maps at the rim. Without a file, weights are
    drawn from `seed`. shape: its channels must be 3. classes: not used. Raises ConfigError for a layer that VGG-19 has
    not.
    """
    check_request("vgg19_features", last, shape)
    with seeded(seed):
        return behind_normalisation(Vgg19(last, _WIDTHS, _torchvision_keys()))


def _torchvision_keys() -> dict[str, str]:
    """relu1_1 -> features.0, ...: torchvision counts convolutions, ReLUs and poolings in one row."""
    keys, place = {}, count()
    for relu in RELUS:
        if relu.endswith("_1") and relu != RELUS[0]:
            next(place)  # the pooling
        keys[relu] = f"features.{next(place)}"
        next(place)  # the ReLU
    return keys
