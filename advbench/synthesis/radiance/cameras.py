"""Pinhole cameras around a scene in the box [-1, 1]^3, z up, and the rays that go through their pixels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.types import ConfigError


class Rays(NamedTuple):
    """Half lines: origins (R, 3) and directions (R, 3) of length 1."""

    origins: Tensor
    directions: Tensor


class Cameras(NamedTuple):
    """positions (N, 3); axes (N, 3, 3), rows: right, down and forward, of length 1; focal: in heights of the image."""

    positions: Tensor
    axes: Tensor
    focal: float


def turntable(
    count: int,
    *,
    elevation: float = 25.0,
    distance: float = 4.0,
    focal: float = 1.9,
    first: float = 0.0,
    device: torch.device | None = None,
) -> Cameras:
    """`count` cameras on a circle about the z axis that look at the middle of the box, from `first` degrees on.

    elevation: degrees above the plane z = 0. distance: from the middle; the box ends at 1. focal: in image heights.
    Raises ConfigError for a camera inside the box, one straight above, and less than one camera.
    """
    if count < 1 or distance <= math.sqrt(3.0) or not -90.0 < elevation < 90.0 or focal <= 0:
        raise ConfigError(
            "a turntable needs a camera or more, outside of the box (distance > 1.74), with elevation between -90 and "
            f"90 and a positive focal length, got {count}, {distance}, {elevation}, {focal}"
        )
    angles = math.radians(first) + 2.0 * math.pi / count * torch.arange(count, device=device)
    tilt = math.radians(elevation)
    flat = torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)], 1)
    up = flat.new_tensor([0.0, 0.0, 1.0])
    outward = math.cos(tilt) * flat + math.sin(tilt) * up
    right = torch.stack([-angles.sin(), angles.cos(), torch.zeros_like(angles)], 1)
    down = torch.linalg.cross(-outward, right)
    return Cameras(distance * outward, torch.stack([right, down, -outward], 1), focal)


def rays_of(cameras: Cameras, number: int, size: tuple[int, int]) -> Rays:
    """The rays through the pixel centres of camera `number`, rows first: R = H W for size (H, W)."""
    return rays_through(cameras, *pixels_of(cameras, number, size), size)


def pixels_of(cameras: Cameras, number: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Camera (R,) and pixel (R,) of every ray of one camera, both int64."""
    pixel = torch.arange(size[0] * size[1], device=cameras.positions.device)
    return torch.full_like(pixel, number), pixel


def rays_through(cameras: Cameras, number: Tensor, pixel: Tensor, size: tuple[int, int]) -> Rays:
    """The rays of cameras `number` (R,) through the centres of pixels `pixel` (R,), counted row by row."""
    height, width = size
    row, column = pixel // width, pixel % width
    across = (column + 0.5 - 0.5 * width) / (cameras.focal * height)
    below = (row + 0.5 - 0.5 * height) / (cameras.focal * height)
    local = torch.stack([across, below, torch.ones_like(across)], 1).to(cameras.axes)
    directions = torch.einsum("rk,rkd->rd", local, cameras.axes[number])
    return Rays(cameras.positions[number], directions / directions.norm(dim=1, keepdim=True))
