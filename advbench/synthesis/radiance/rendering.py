"""Volume rendering: light gathered along rays through a field. Max 1995, doi:10.1109/2945.468400; arXiv:2003.08934."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from advbench.synthesis.radiance.cameras import Cameras, Rays, rays_of
from advbench.synthesis.radiance.field import Field, at, extinction, filled

_RAYS = 4096  # rays worked on at a time
_STEPS_PER_VOXEL = 1.5


class Samples(NamedTuple):
    """Pieces of rays inside the box: their middles (R, S, 3) and lengths (R, S), 0 behind the ray's end."""

    points: Tensor
    lengths: Tensor


class Sight(NamedTuple):
    """What one camera sees of a density: rendering is a linear map of the colours, and these are its coefficients.

    ray (M,) int64: the ray of each sample that is seen. points (M, 3), weights (M,). left (R,): the light that comes
    from the background.
    """

    ray: Tensor
    points: Tensor
    weights: Tensor
    left: Tensor


def samples_along(rays: Rays, side: int) -> Samples:
    """Pieces of at most two thirds of a voxel of a grid with `side` corners along each edge."""
    step = 2.0 / (side - 1) / _STEPS_PER_VOXEL
    safe = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    ends = torch.stack([(-1.0 - rays.origins) / safe, (1.0 - rays.origins) / safe])
    near = ends.amin(0).amax(1).clamp_min(0.0)
    within = (ends.amax(0).amin(1) - near).clamp_min(0.0)  # (R,)
    count = max(1, math.ceil(float(within.max()) / step)) if len(within) else 1
    starts = step * torch.arange(count, device=near.device, dtype=near.dtype)
    lengths = (within[:, None] - starts).clamp(0.0, step)
    middles = near[:, None] + starts + 0.5 * lengths
    return Samples(rays.origins[:, None] + middles[..., None] * rays.directions[:, None], lengths)


def composite(thickness: Tensor) -> tuple[Tensor, Tensor]:
    """Shares (R, S) of the light that come from each piece, and (R,) from behind: they sum to 1.

    thickness (R, S): extinction times length, nearest first. A piece stops 1 - exp(-thickness) of what gets to it.
    """
    through = torch.exp(-thickness.cumsum(1))
    before = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], 1)
    return before * -torch.expm1(-thickness), through[:, -1]


def render_rays(field: Field, rays: Rays, background: Tensor) -> Tensor:
    """Colours (R, C) of the rays in front of background (C,), with a graph to density and colours."""
    sight = seen(field.density, rays)
    return shown(field.colours, sight) + sight.left[:, None] * background


def seen(density: Tensor, rays: Rays) -> Sight:
    """What is seen along the rays. Samples without any weight are left out: neither they nor their slopes matter."""
    points, lengths = samples_along(rays, density.shape[-1])
    inside = lengths > 0
    inside[inside.clone()] = filled(density, points[inside])
    thickness = torch.zeros_like(lengths)
    thickness[inside] = extinction(density, points[inside]) * lengths[inside]
    weights, left = composite(thickness)
    visible = weights.detach() > 0
    return Sight(visible.nonzero()[:, 0], points[visible], weights[visible], left)


def shown(colours: Tensor, sight: Sight) -> Tensor:
    """The light (R, C) that comes from the field itself, without the background."""
    light = sight.weights[:, None] * at(colours, sight.points)
    return light.new_zeros(len(sight.left), colours.shape[1]).index_add(0, sight.ray, light)


def sights_of(density: Tensor, cameras: Cameras, number: int, size: tuple[int, int]) -> list[Sight]:
    """What a camera sees, without graph, in pieces of its pixels."""
    rays = rays_of(cameras, number, size)
    with torch.no_grad():
        return [seen(density, Rays(*part)) for part in zip(*(torch.split(each, _RAYS) for each in rays), strict=True)]


def picture_of(colours: Tensor, sights: list[Sight], background: Tensor, size: tuple[int, int]) -> Tensor:
    """The image (1, C, H, W) for what a camera sees, with a graph to the colours.

    Only the image is kept: on the way back each piece of its pixels is rendered once more, with its graph, and handed
    the gradient at these pixels. Memory is that of one piece. Zhang et al. 2022, arXiv:2206.06360.
    """
    parts = [checkpoint(shown, colours, sight, use_reentrant=False, preserve_rng_state=False) for sight in sights]
    light = torch.cat(parts) + torch.cat([sight.left for sight in sights])[:, None] * background
    return light.T.reshape(1, -1, *size)


def frames_of(field: Field, cameras: Cameras, size: tuple[int, int], background: Tensor) -> Tensor:
    """The images (N, C, H, W) of all cameras, without graph."""
    with torch.no_grad():
        sights = (sights_of(field.density, cameras, number, size) for number in range(len(cameras.positions)))
        return torch.cat([picture_of(field.colours, each, background, size) for each in sights]).clamp(0.0, 1.0)
