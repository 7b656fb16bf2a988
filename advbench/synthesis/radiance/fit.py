"""A field fitted to views of a scene: the colours of random rays are compared with those in the photographs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.journal import current_step, shown_by
from advbench.core.step_rules import adam, cosine
from advbench.synthesis.radiance.cameras import Cameras, rays_through
from advbench.synthesis.radiance.field import Field, resampled
from advbench.synthesis.radiance.rendering import frames_of, render_rays
from advbench.synthesis.radiance.scene import Views, check_views
from advbench.types import ConfigError, Evaluation

_THIN = 0.02  # first density: a haze that lets light through from everywhere, so that every voxel is felt


def fit(
    views: Views,
    *,
    draws: Draws,
    sides: Sequence[int] = (16, 32, 48),
    steps: Sequence[int] = (100, 150, 250),
    rays: int = 1024,
    rate: float = 0.1,
    tv_weight: float = 0.02,
    sparsity: float = 0.01,
) -> Field:
    """The field whose images are the views: density and colours by Adam on the squared error, coarse to fine.

    sides: corners of the grid along each edge, one number for each phase; steps: of each phase. rays: random pixels of
    all views in a step. rate: largest change of a voxel in a step, of a colour or of a density for which two voxels of
    48 are opaque. tv_weight: of the mean squared difference of neighbouring voxels. sparsity: of the mean density, so
    that nothing of the background's colour floats around. Raises ConfigError for views that do not belong together and
    for numbers that do not fit. After Fridovich-Keil et al. 2022, arXiv:2112.05131.
    """
    check_views(views)
    if len(sides) != len(steps) or not sides or min(sides) < 2 or rays < 1 or rate <= 0:
        raise ConfigError(
            "fit: one number of steps for each grid, with sides of 2 or more; rays >= 1, rate > 0; got "
            f"sides {list(sides)}, steps {list(steps)}, rays {rays}, rate {rate}"
        )
    if min(tv_weight, sparsity) < 0:
        raise ConfigError(f"fit: tv_weight and sparsity must not be negative, got {tv_weight} and {sparsity}")
    images, cameras, background = views
    count, channels, height, width = images.shape
    truth = images.permute(0, 2, 3, 1).reshape(-1, channels)
    mine = draws.rows(torch.arange(1, device=draws.sample_ids.device))
    z = images.new_full((1, 1 + channels, sides[0], sides[0], sides[0]), 0.5)
    z[:, :1] = _THIN
    first = Cameras(cameras.positions[:1], cameras.axes[:1], cameras.focal)

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        chosen = mine.integers(count * height * width, (rays,), f"rays {z.shape[-1]}", current_step())[0]
        chosen = chosen.to(z.device)
        through = rays_through(cameras, chosen // (height * width), chosen % (height * width), (height, width))
        error = (render_rays(_field(z), through, background) - truth[chosen]).square().mean()
        penalty = tv_weight * _roughness(z) + sparsity * z[:, 0].relu().mean()
        loss = (error + penalty).reshape(1)
        return Evaluation(loss, torch.zeros_like(loss, dtype=torch.bool))

    with shown_by(lambda z: frames_of(_field(z), first, (height, width), background)):
        for side, number in zip(sides, steps, strict=True):
            z = resampled(z, side)
            rule = adam(rate, decay=(0.9, 0.99), schedule=cosine(1.0, 0.1))
            z = descend(z, objective, step=rule, steps=number, project=_inside, stop=None).z
    return _field(z)


def _field(z: Tensor) -> Field:
    return Field(z[:, :1], z[:, 1:])


def _inside(z: Tensor, rows: Tensor) -> Tensor:
    """Colours in [0, 1]; empty space no emptier than it need be, so that it can be filled again."""
    return torch.cat([z[:, :1].clamp_min(-0.2), z[:, 1:].clamp(0.0, 1.0)], 1)


def _roughness(z: Tensor) -> Tensor:
    return torch.stack([z.diff(dim=axis).square().mean() for axis in (2, 3, 4)]).sum()
