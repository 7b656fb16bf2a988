"""Several different pictures of one unit: the images of a batch are pushed apart by their textures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.default_layer import default_layer
from advbench.core.targets import Reading, Target


def diverse(model: nn.Module, target: Target, weight: float, probe: Tensor, layer: str | None = None) -> Target:
    """The target less `weight` times each image's mean cosine with the others of the batch.

    layer: where the Gram matrices are taken; the target's own, or the last with maps. probe (1, C, H, W): an image like
    those to come. Olah et al. 2017, doi:10.23915/distill.00007, section on diversity.
    """
    where = layer or (target.layers[0] if target.layers else default_layer(model, probe, target))

    def read(reading: Reading) -> Tensor:
        return target.read(reading) - weight * likeness(reading.layers[where]).mean(1)

    layers = tuple(dict.fromkeys((*target.layers, where)))
    return Target(read, layers, f"{target.name}, diverse", target.whole)


def likeness(maps: Tensor) -> Tensor:
    """Cosines (A, A - 1 or more) between the Gram matrices of each image's maps (A, C, ...) and the others'.

    Each row holds those with all images, the image's own set to zero.
    """
    flat = maps.flatten(2) if maps.dim() > 2 else maps[:, :, None]
    if maps.dim() == 3:
        flat = maps.transpose(1, 2)  # tokens: (A, T, C)
    grams = functional.normalize((flat @ flat.transpose(1, 2)).flatten(1), dim=1)  # (A, C * C)
    cosines = grams @ grams.T
    return cosines * (1.0 - torch.eye(len(cosines)).to(cosines))
