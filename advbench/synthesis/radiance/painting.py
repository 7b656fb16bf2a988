"""The colours of a field changed until its views look painted; the density, and so every shape, stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.journal import current_step, shown_by
from advbench.core.priors import total_variation
from advbench.core.step_rules import adam, cosine
from advbench.synthesis.radiance.critic import Critic
from advbench.synthesis.radiance.recolour import recoloured
from advbench.synthesis.radiance.viewpoints import Viewpoints
from advbench.types import ConfigError, Evaluation


@dataclass(frozen=True)
class Recipe:
    """How a field is painted; `arf` says what each of these means."""

    layers: Sequence[str] = ()
    steps: int = 200
    rate: float = 0.03
    content_weight: float = 0.2
    tv_weight: float = 1.0
    style_scale: float = 1.0
    enlarge: float = 2.0
    recolour: bool = True


def painted(
    model: nn.Module, colours: Tensor, styles: Sequence[Tensor], views: Viewpoints, recipe: Recipe, *, draws: Draws
) -> Tensor:
    """Other colours (1, C, D, D, D), with which what `views` show looks painted like the styles, each (1, C, h, w).

    A random view in each step. Of the field only the colours are at hand: its density cannot change. Raises ConfigError
    for numbers that do not fit.
    """
    check_recipe(recipe)
    longer = max(views.size)
    pictures = [fitted(each, round(recipe.enlarge * recipe.style_scale * longer)) for each in styles]
    mine = draws.rows(torch.arange(1, device=draws.sample_ids.device))
    start = recoloured(colours, views, pictures) if recipe.recolour else colours
    with frozen(model):
        critic = Critic(model, pictures, views, recipe.layers, recipe.enlarge)
        with torch.no_grad():
            wanted = [critic.look(views.picture(start, number)) for number in range(len(views))]
        smooth = total_variation()

        def objective(z: Tensor, rows: Tensor) -> Evaluation:
            number = int(mine.integers(len(views), (), "view", current_step()))
            image = views.picture(z, number)
            maps = critic.look(image)
            loss = critic.mismatch(maps, number) + recipe.content_weight * critic.change(maps, wanted[number])
            loss = loss + recipe.tv_weight / (views.size[0] * views.size[1]) * smooth(image)
            return Evaluation(loss, torch.zeros_like(loss, dtype=torch.bool))

        with shown_by(lambda z: views.picture(z, 0)):
            rule = adam(recipe.rate, decay=(0.9, 0.99), schedule=cosine(1.0, 0.05))
            z = descend(start, objective, step=rule, steps=recipe.steps, project=_inside, stop=None).z
    return recoloured(z, views, pictures) if recipe.recolour else z


def check_recipe(recipe: Recipe) -> None:
    """Raises ConfigError for numbers that are too small."""
    if recipe.steps < 0 or min(recipe.rate, recipe.style_scale, recipe.enlarge) <= 0:
        raise ConfigError(
            "steps must not be negative; rate, style_scale and enlarge must be positive; got "
            f"{recipe.steps}, {recipe.rate}, {recipe.style_scale}, {recipe.enlarge}"
        )
    if min(recipe.content_weight, recipe.tv_weight) < 0:
        raise ConfigError(f"weights must not be negative, got {recipe.content_weight} and {recipe.tv_weight}")


def fitted(image: Tensor, side: int) -> Tensor:
    """image (1, C, H, W) with a longer side of `side` pixels, in [0, 1]."""
    factor = side / max(image.shape[2:])
    size = (max(1, round(factor * image.shape[2])), max(1, round(factor * image.shape[3])))
    return functional.interpolate(image, size=size, mode="bicubic", antialias=True).clamp(0.0, 1.0)


def _inside(z: Tensor, rows: Tensor) -> Tensor:
    return z.clamp(0.0, 1.0)
