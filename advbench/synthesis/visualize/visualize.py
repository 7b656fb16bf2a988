"""An image that a class, channel, unit or layer likes, by gradient ascent with the recipe asked for."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.parameterisations import Parameterisation, fourier, pixels
from advbench.core.priors import Prior, alpha_norm, edge_energy, total_variation
from advbench.core.redirected_relu import redirected_relu
from advbench.core.sway import turned_and_scaled
from advbench.core.targets import Target, parse_target
from advbench.core.transforms import View, compose, jitter
from advbench.core.upkeep import Kept, kept_up
from advbench.registry import synthesis
from advbench.synthesis.render import Weighted, render
from advbench.synthesis.visualize.diverse import diverse
from advbench.synthesis.visualize.normalised import Normalisation, normalisation_of
from advbench.synthesis.visualize.recipes import Recipe, Start, recipe_named
from advbench.types import ConfigError


@synthesis(paper="doi:10.23915/distill.00007")
def visualize(
    model: nn.Module,
    target: str | Target,
    *,
    draws: Draws,
    shape: tuple[int, int, int] = (3, 224, 224),
    preset: str | Recipe = "default",
    start: Start | None = None,
    photo: Tensor | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    looks: int | None = None,
    diversity: float = 0.0,
    redirected: bool = True,
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] of `shape` that raise the target, one for each sample of the draws.

    target: text as in `core.targets` ("class:258", "features.12:17@centre", "features.12", sums of such) or a Target.
    preset: a name in `recipes.RECIPES` or a Recipe of your own; start, steps, step_size and looks replace its numbers.
    photo (B, C, H, W) or (1, C, H, W): where start "photo" starts, and the default start if given; its size counts.
    diversity: weight of the mean cosine between the Gram matrices of the images, which pushes the images of one call
    apart; 0 makes each image independent of the others. redirected: units that would block a whole image are pushed up
    during the first 16 steps (`core.redirected_relu`); where nothing is blocked it changes nothing.
    Raises ConfigError for a target, preset or start that does not exist and a photo that is missing or does not fit.
    """
    recipe = recipe_named(preset) if isinstance(preset, str) else preset
    recipe = replace(
        recipe,
        start=start or ("photo" if photo is not None else recipe.start),
        steps=recipe.steps if steps is None else steps,
        step_size=recipe.step_size if step_size is None else step_size,
        looks=recipe.looks if looks is None else looks,
    )
    shape = shape if photo is None else (photo.shape[1], photo.shape[2], photo.shape[3])
    normalised = normalisation_of(model, shape[0])
    written = _WRITTEN[recipe.space](shape, normalised)
    image = _first_image(recipe, shape, normalised, photo, draws)
    first = written.encode(image)
    if recipe.start == "noise":
        first = first + recipe.deviation * draws.normal(tuple(first.shape[1:]), "start")
    wanted = parse_target(target) if isinstance(target, str) else target
    if diversity:
        wanted = diverse(model, wanted, diversity, written.decode(first[:1]))
    kept = _kept(recipe, normalised)
    with redirected_relu() if redirected else nullcontext():
        image = render(
            model,
            wanted,
            first,
            draws=draws,
            step=kept.step,
            steps=recipe.steps,
            parameterisation=written,
            view=_view(recipe, shape),
            looks=recipe.looks,
            priors=_priors(recipe, shape, normalised),
            project=kept.project,
        )
    return _standardised(normalised.into(image)) if recipe.standardised else image.clamp(0.0, 1.0)


def _kept(recipe: Recipe, normalised: Normalisation) -> Kept:
    """The recipe's step, and what follows each."""
    return kept_up(
        recipe.step(recipe.step_size),
        decay=recipe.decay,
        sigma=recipe.sigma,
        every=recipe.every,
        small_values=recipe.small_values,
        small_contributions=recipe.small_contributions,
        low=_bound(recipe, normalised, 0.0),
        high=_bound(recipe, normalised, 1.0),
    )


def _first_image(
    recipe: Recipe, shape: tuple[int, int, int], normalised: Normalisation, photo: Tensor | None, draws: Draws
) -> Tensor:
    """The image (B, C, H, W) that the free variables start from: a photo, grey, or the network's mean image."""
    count, device = len(draws.sample_ids), draws.sample_ids.device
    if recipe.start == "photo":
        if photo is None or photo.dim() != 4 or len(photo) not in (1, count):
            raise ConfigError(f"start 'photo' needs a photo ({count}, C, H, W) or (1, C, H, W)")
        return photo.detach().expand(count, -1, -1, -1)
    if recipe.space == "normalised":
        return normalised.out(torch.zeros(count, *shape, device=device))
    return torch.full((count, *shape), 0.5, device=device)


def _view(recipe: Recipe, shape: tuple[int, int, int]) -> View | None:
    views: list[View] = []
    size = min(shape[1:]) / 224
    if recipe.jitter:
        views.append(jitter(max(2, round(recipe.jitter * size))))
    if recipe.rotate or recipe.scale != (1.0, 1.0):
        # A small network looks at low frequencies: large changes of scale would take the class away.
        low, high = (1.0 + (factor - 1.0) * min(max(size, 0.25), 1.0) for factor in recipe.scale)
        views.append(turned_and_scaled(recipe.rotate, low, high))
    return compose(*views) if views else None


def _priors(recipe: Recipe, shape: tuple[int, int, int], normalised: Normalisation) -> list[Weighted]:
    size = shape[0] * shape[1] * shape[2]
    asked = [
        (recipe.l2, _squares),
        (recipe.total_variation / size, total_variation()),
        (recipe.alpha_norm / size, alpha_norm(centre=0.0 if recipe.space == "normalised" else 0.5)),
        (recipe.edges, edge_energy()),
    ]
    inside = recipe.space == "normalised"
    return [(weight, _seen_as(prior, normalised) if inside else prior) for weight, prior in asked if weight]


def _seen_as(prior: Prior, normalised: Normalisation) -> Prior:
    return lambda image: prior(normalised.into(image))


def _squares(z: Tensor) -> Tensor:
    return z.square().flatten(1).sum(1)


def _bound(recipe: Recipe, normalised: Normalisation, edge: float) -> Tensor | float:
    """The edge of what a picture can show, in free variables."""
    if not recipe.bounded:
        return torch.inf if edge else -torch.inf
    return normalised.into(torch.full_like(normalised.mean, edge)) if recipe.space == "normalised" else edge


def _standardised(z: Tensor) -> Tensor:
    """The display rule of Fleuret's course for z (B, C, H, W), each image alone."""
    flat = z.flatten(1)
    spread = flat.std(1, keepdim=True).clamp_min(torch.finfo(z.dtype).tiny)
    return (0.5 + 0.1 * (flat - flat.mean(1, keepdim=True)) / spread).reshape(z.shape).clamp(0.0, 1.0)


_WRITTEN = {
    "fourier": lambda shape, normalised: fourier(shape),
    "pixels": lambda shape, normalised: pixels(),
    "normalised": lambda shape, normalised: Parameterisation(normalised.into, normalised.out),
}
