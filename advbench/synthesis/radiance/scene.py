"""Views of a scene with the cameras that took them, and one scene of our own: coloured solids on a disc."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from advbench.synthesis.radiance.cameras import Cameras, Rays, rays_of, turntable
from advbench.types import ConfigError

_LIGHT = (0.45, -0.35, 0.82)
_AMBIENT = 0.45
_FINER = 3  # rays per pixel along each side: edges are smooth


class Views(NamedTuple):
    """images (N, C, H, W) in [0, 1], the N cameras that took them and the colour (C,) where there is nothing."""

    images: Tensor
    cameras: Cameras
    background: Tensor


class Hit(NamedTuple):
    """Where rays meet a solid: the distance (R,), inf for a miss, and the normal (R, 3) there."""

    distance: Tensor
    normal: Tensor


class Solid(NamedTuple):
    """hit: rays -> Hit. colour: points (R, 3) -> red, green, blue (R, 3)."""

    hit: Callable[[Rays], Hit]
    colour: Callable[[Tensor], Tensor]


def check_views(views: Views) -> None:
    """Raises ConfigError if images, cameras and background do not belong together."""
    images, cameras, background = views
    if images.dim() != 4 or not len(images):
        raise ConfigError(f"views must be images (N, C, H, W), got {tuple(images.shape)}")
    if len(cameras.positions) != len(images) or cameras.axes.shape != (len(images), 3, 3):
        raise ConfigError(f"{len(images)} views need as many cameras, got {len(cameras.positions)}")
    if background.shape != images.shape[1:2]:
        raise ConfigError(f"the background must have {images.shape[1]} values, got {tuple(background.shape)}")


def solids_on_a_disc(
    count: int, size: tuple[int, int], *, channels: int = 3, elevations: tuple[float, ...] = (25.0,), like: Tensor
) -> Views:
    """`count` views of `size` (H, W) from each elevation (degrees), exact but for the pixels, on white.

    Two balls, a chequered box and a striped post. channels: 3, or 1 for grey. Device and type are those of `like`.
    """
    found: list[Tensor] = []
    rings = [
        turntable(count, elevation=each, first=180.0 * i / count, device=like.device)
        for i, each in enumerate(elevations)
    ]
    cameras = Cameras(
        torch.cat([each.positions for each in rings]).to(like),
        torch.cat([each.axes for each in rings]).to(like),
        rings[0].focal,
    )
    fine = (_FINER * size[0], _FINER * size[1])
    for number in range(len(cameras.positions)):
        colours = traced(rays_of(cameras, number, fine), _solids())
        found.append(functional.avg_pool2d(colours.T.reshape(1, 3, *fine), _FINER))
    images = torch.cat(found)
    if channels == 1:
        images = images.mean(1, keepdim=True)
    return Views(images, cameras, images.new_ones(images.shape[1]))


def traced(rays: Rays, solids: list[Solid]) -> Tensor:
    """The colours (R, 3) of the nearest solids in a fixed light, white where there is none."""
    light = functional.normalize(rays.origins.new_tensor(_LIGHT), dim=0)
    nearest = torch.full_like(rays.origins[:, 0], math.inf)
    colours = torch.ones_like(rays.origins)
    for solid in solids:
        distance, normal = solid.hit(rays)
        points = rays.origins + distance.nan_to_num(posinf=0.0)[:, None] * rays.directions
        lit = _AMBIENT + (1.0 - _AMBIENT) * (normal @ light).clamp_min(0.0)
        here = distance < nearest
        colours = torch.where(here[:, None], lit[:, None] * solid.colour(points), colours)
        nearest = torch.where(here, distance, nearest)
    return colours


def ball(centre: tuple[float, float, float], radius: float) -> Callable[[Rays], Hit]:
    """A sphere."""

    def hit(rays: Rays) -> Hit:
        to = rays.origins - rays.origins.new_tensor(centre)
        half = (to * rays.directions).sum(1)
        inside = half.square() - to.square().sum(1) + radius**2
        distance = _ahead(-half - inside.clamp_min(0.0).sqrt(), inside > 0)
        return Hit(distance, (to + distance.nan_to_num(posinf=0.0)[:, None] * rays.directions) / radius)

    return hit


def block(centre: tuple[float, float, float], half: tuple[float, float, float]) -> Callable[[Rays], Hit]:
    """A box along the axes with these half sides."""

    def hit(rays: Rays) -> Hit:
        safe = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
        to, sides = rays.origins - rays.origins.new_tensor(centre), rays.origins.new_tensor(half)
        ends = torch.stack([(-sides - to) / safe, (sides - to) / safe])
        enters, axis = ends.amin(0).max(1)
        normal = -functional.one_hot(axis, 3).to(safe) * safe.sign()
        return Hit(_ahead(enters, enters < ends.amax(0).amin(1)), normal)

    return hit


def post(centre: tuple[float, float, float], radius: float, half: float) -> Callable[[Rays], Hit]:
    """An upright cylinder with flat ends, 2 `half` high."""

    def hit(rays: Rays) -> Hit:
        to, along = rays.origins - rays.origins.new_tensor(centre), rays.directions
        square = along[:, :2].square().sum(1).clamp_min(1e-12)
        middle = (to[:, :2] * along[:, :2]).sum(1) / square
        inside = middle.square() - (to[:, :2].square().sum(1) - radius**2) / square
        enters, leaves = -middle - inside.clamp_min(0.0).sqrt(), -middle + inside.clamp_min(0.0).sqrt()
        rise = torch.where(along[:, 2].abs() < 1e-9, 1e-9, along[:, 2])
        cap, other = (-rise.sign() * half - to[:, 2]) / rise, (rise.sign() * half - to[:, 2]) / rise
        first = torch.maximum(enters, cap)
        places = to + first[:, None] * along
        wall = functional.pad(places[:, :2] / radius, (0, 1))
        flat = functional.pad(-rise.sign()[:, None], (2, 0))
        normal = torch.where((cap > enters)[:, None], flat, wall)
        return Hit(_ahead(first, (inside > 0) & (first < torch.minimum(leaves, other))), normal)

    return hit


def _ahead(distance: Tensor, met: Tensor) -> Tensor:
    return torch.where(met & (distance > 0), distance, math.inf)


def _solids() -> list[Solid]:
    return [
        Solid(post((0.0, 0.0, -0.5), 0.85, 0.06), _plain(0.75, 0.72, 0.66)),
        Solid(ball((-0.36, 0.2, -0.1), 0.34), _bands((0.85, 0.25, 0.2), (0.95, 0.7, 0.3), 2, 0.16)),
        Solid(block((0.35, 0.3, -0.18), (0.26, 0.26, 0.26)), _cubes((0.2, 0.35, 0.75), (0.6, 0.8, 0.95), 0.1733)),
        Solid(ball((0.35, 0.3, 0.25), 0.18), _plain(0.3, 0.65, 0.3)),
        Solid(post((0.1, -0.42, -0.12), 0.2, 0.32), _bands((0.5, 0.25, 0.6), (0.95, 0.9, 0.8), 2, 0.14)),
    ]


def _plain(*colour: float) -> Callable[[Tensor], Tensor]:
    return lambda points: points.new_tensor(colour).expand_as(points)


def _bands(one: tuple[float, ...], other: tuple[float, ...], axis: int, width: float) -> Callable[[Tensor], Tensor]:
    def colour(points: Tensor) -> Tensor:
        odd = (points[:, axis] / width).floor() % 2 == 1
        return torch.where(odd[:, None], points.new_tensor(other), points.new_tensor(one))

    return colour


def _cubes(one: tuple[float, ...], other: tuple[float, ...], width: float) -> Callable[[Tensor], Tensor]:
    def colour(points: Tensor) -> Tensor:
        # A little off the faces, where rounding would decide.
        odd = ((points + 0.0123) / width).floor().sum(1) % 2 == 1
        return torch.where(odd[:, None], points.new_tensor(other), points.new_tensor(one))

    return colour
