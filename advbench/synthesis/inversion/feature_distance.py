"""How far the features of pictures are from those of images, and the layer "input", whose features are the pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.activations import Partial, module_named
from advbench.core.gradients import frozen
from advbench.core.targets import Reading, Target

INPUT = "input"


class Errors(NamedTuple):
    """relative (B,): |features of the picture - those of the image| / |those of the image|.

    paired (B,): the same distance over the mean distance between the features of two of the images, which Mahendran
    and Vedaldi report; not a number for a single image.
    """

    relative: Tensor
    paired: Tensor


def features_of(model: nn.Module, layer: str, image: Tensor) -> Tensor:
    """What the layer puts out for image (B, C, H, W), without graph; the image itself for "input"."""
    if layer == INPUT:
        return image.detach()
    with frozen(model), torch.no_grad():
        return Partial(model, [layer], image[:1])(image)[layer]


def looking_like(features: Tensor, layer: str) -> tuple[nn.Module | None, Target]:
    """The target -|f - features|^2 / |features|^2 per sample, and the network it needs instead of the model's own.

    features (B, ...): of `layer`. The features of "input" are seen by a network that does nothing.
    """
    lengths = features.flatten(1).square().sum(1).clamp_min(torch.finfo(features.dtype).tiny)  # (B,)

    def likeness(seen: Tensor, rows: Tensor) -> Tensor:
        return -(seen - features[rows]).flatten(1).square().sum(1) / lengths[rows]

    if layer == INPUT:
        return nn.Identity(), Target(lambda reading: likeness(reading.output, reading.rows), name="the image")

    def read(reading: Reading) -> Tensor:
        return likeness(reading.layers[layer], reading.rows)

    return None, Target(read, (layer,), f"features of {layer}", whole=False)


def inversion_errors(model: nn.Module, layer: str, image: Tensor, picture: Tensor) -> Errors:
    """Both errors, as shares, of pictures (B, C, H, W) whose features were to be those of image, per sample.

    Raises ConfigError for a name that is no layer.
    """
    if layer != INPUT:
        module_named(model, layer)
    wanted, found = features_of(model, layer, image).flatten(1), features_of(model, layer, picture).flatten(1)
    distance = (found - wanted).norm(dim=1)
    count = len(wanted)
    pairs = torch.cdist(wanted[None], wanted[None])[0].sum() / (count * (count - 1)) if count > 1 else torch.nan
    return Errors(distance / wanted.norm(dim=1), distance / pairs)
