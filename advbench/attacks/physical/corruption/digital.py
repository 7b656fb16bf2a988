"""What processing does: low contrast, elastic distortion, coarse pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from advbench.attacks.physical.corruption.severities import Constants
from advbench.core.draws import Draws
from advbench.core.transforms import blur


def contrast(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Each channel drawn towards its mean by the factor constants[0]."""
    mean = image.mean((2, 3), keepdim=True)
    return mean + constants[0] * (image - mean)


def elastic_transform(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Three points moved by up to constants[2] pixels (an affine map), then smooth random displacements on top.

    These are uniform noise in [-1, 1], blurred by a deviation of constants[1] pixels and multiplied by constants[0].
    """
    length, smoothness, corners = constants
    height, width = image.shape[2:]
    field = 2.0 * draws.uniform((2, height, width), "elastic").to(image) - 1.0
    # Beyond the image a blur knows nothing: four deviations may be more than there is.
    away = length * blur(min(smoothness, 0.25 * min(height, width)))(field, draws, 0)
    down, right = torch.meshgrid(
        *(torch.arange(n, dtype=image.dtype, device=image.device) + 0.5 for n in (height, width)), indexing="ij"
    )
    here = torch.stack([down, right, torch.ones_like(down)]).flatten(1)  # (3, H * W)
    square = max(min(height, width) // 3, 1)
    points = [(square, square), (square, -square), (-square, -square)]
    old = image.new_tensor([[0.5 * height + a, 0.5 * width + b, 1.0] for a, b in points])
    new = old[:, :2] + corners * (2.0 * draws.uniform((3, 2), "corners").to(image) - 1.0)  # (A, 3, 2)
    # The map that takes the new points back to the old ones; singular for corners that fell on a line.
    back = torch.linalg.lstsq(functional.pad(new, (0, 1), value=1.0).double(), old[:, :2].double().expand_as(new))
    place = (here.T.double() @ back.solution).to(image).reshape(-1, height, width, 2)
    where = place + away.movedim(1, -1)
    grid = torch.stack([2.0 * where[..., 1] / width - 1.0, 2.0 * where[..., 0] / height - 1.0], -1)
    return functional.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def pixelate(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Averaged down to the share constants[0] of the resolution and up again in blocks."""
    small = [max(1, math.floor(constants[0] * side)) for side in image.shape[2:]]
    coarse = _box(_box(image, small[0], 2), small[1], 3)
    return _box(_box(coarse, image.shape[2], 2), image.shape[3], 3)


def _box(image: Tensor, size: int, side: int) -> Tensor:
    """Resampled to `size` along one side; each new pixel is the mean of what it covers."""
    old = image.shape[side]
    edges = torch.arange(size + 1, dtype=torch.float64, device=image.device) * old / size
    cells = torch.arange(old, dtype=torch.float64, device=image.device)
    covered = torch.minimum(edges[1:, None], cells + 1.0) - torch.maximum(edges[:-1, None], cells)  # (size, old)
    weights = covered.clamp_min(0.0) * size / old
    return torch.movedim(torch.movedim(image, side, -1) @ weights.T.to(image), -1, side)
