"""Perceptual alignment: how far the gradient points along the image itself. Etmann et al. 2019, arXiv:1905.04172."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.gradients import frozen, labels_at
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import Explained, as_target


@dataclass(frozen=True, eq=False)
class Alignment:
    """Each (B,). projection: |<x, g>| / |g|, in l2 units of the input; cosine: the same over |x|, in [0, 1].

    0 where the gradient g vanishes, and where x is the origin.
    """

    projection: Tensor
    cosine: Tensor


def alignment(model: nn.Module, x: Tensor, y: Explained | None = None, *, origin: float = 0.0) -> Alignment:
    """How well the gradient g of the score of y at x (B, C, H, W) is aligned with x.

    y: classes (B,), meaning raw scores, or any target; None: the predicted class, as in the paper. For a linear score
    without bias the projection is the distance to where the score is 0, so that for the difference of two classes it is
    the distance to their boundary. Training against attacks raised both on digits and lowered them on MNIST at eps 0.3
    in our measurements. origin: the pixel value that x is measured from; the paper's 0 makes the mean brightness part
    of the answer, 0.5 does not.
    """
    with frozen(model):
        explained = labels_at(model, x, all_rows(x)) if y is None else y
        slope = score_gradient(model, x, as_target(explained), all_rows(x))[1]
    image, slope = (x.detach() - origin).flatten(1).double(), slope.flatten(1).double()
    along, steepness, length = (image * slope).sum(1).abs(), slope.norm(dim=1), image.norm(dim=1)
    projection = torch.where(steepness > 0, along / steepness, 0.0)
    cosine = torch.where(length > 0, projection / length, 0.0)
    return Alignment(projection.to(x.dtype), cosine.clamp_max(1.0).to(x.dtype))
