"""Blurs: out of focus, through frosted glass, of a moving and of a zooming camera."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from advbench.attacks.physical.corruption.severities import Constants
from advbench.core.draws import Draws
from advbench.core.transforms import blur, warp


def defocus_blur(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Convolution with a disc of radius constants[0] pixels whose edge is softened by deviation constants[1]."""
    radius, softness = constants
    reach = math.ceil(radius) + 2
    axis = torch.arange(-reach, reach + 1).to(image)
    disc = (axis[:, None].square() + axis.square() <= radius**2).to(image)[None, None]
    kernel = blur(softness)(disc, draws, 0)
    planes = functional.pad(image.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
    return functional.conv2d(planes, kernel / kernel.sum()).reshape(image.shape)


def glass_blur(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Blurred, in constants[2] rounds each pixel taken from up to constants[1] away, and blurred again.

    The published code swaps pixels one after the other, where here each is looked up: some may then show twice.
    """
    deviation, furthest, rounds = constants[0], max(1, round(constants[1])), max(1, round(constants[2]))
    soften = blur(deviation)
    seen = soften(image, draws, 0)
    height, width = image.shape[2:]
    for i in range(rounds):
        away = draws.integers(2 * furthest + 1, (2, height, width), "glass", i).to(image.device) - furthest
        down = (torch.arange(height, device=image.device)[:, None] + away[:, 0]).clamp(0, height - 1)
        right = (torch.arange(width, device=image.device) + away[:, 1]).clamp(0, width - 1)
        index = (down * width + right).flatten(1)[:, None].expand(-1, image.shape[1], -1)
        seen = seen.flatten(2).gather(2, index).reshape(image.shape)
    return soften(seen, draws, 0)


def motion_blur(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Smeared to one side along a line at up to 45 degrees from the horizontal: see `smear`."""
    angle = math.pi / 4.0 * (2.0 * draws.uniform((), "direction") - 1.0)
    return smear(image, angle.to(image), reach=constants[0], deviation=constants[1])


def zoom_blur(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """The mean of the image and of it enlarged by 1, 1 + step, ... up to the largest factor; (largest, step)."""
    largest, step = constants
    count = math.floor((largest - 1.0) / step + 1.001)
    total = image.clone()
    for i in range(count):
        total += enlarge(image, 1.0 + i * step)
    return total / (count + 1)


def enlarge(image: Tensor, factor: float) -> Tensor:
    """The middle of the image, `factor` >= 1 times as large, on the same canvas."""
    return warp(image, factor=image.new_full((len(image),), factor), fill=0.0)


def smear(image: Tensor, angle: Tensor, *, reach: float, deviation: float) -> Tensor:
    """The weighted mean of image (A, C, H, W) moved by 0, 1, ... pixels along angle (A,), in radians.

    The weights are half a Gaussian of `deviation` pixels over 2 * reach + 1 pixels; edge pixels go on outside.
    """
    count = 2 * round(reach) + 1
    weights = torch.exp(-0.5 * (torch.arange(count).to(image) / deviation) ** 2)
    height, width = image.shape[2:]
    down, right = torch.meshgrid(
        *(torch.arange(side, dtype=image.dtype, device=image.device) + 0.5 for side in (height, width)), indexing="ij"
    )
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    total = torch.zeros_like(image)
    for i, weight in enumerate((weights / weights.sum()).tolist()):
        grid = torch.stack([2.0 * (right + i * cos) / width - 1.0, 2.0 * (down + i * sin) / height - 1.0], -1)
        total += weight * functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return total
