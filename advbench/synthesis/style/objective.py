"""What style transfer makes small: the distance from the content's features and from the styles' textures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import Target
from advbench.synthesis.compared import Distance, Term, balanced, distances_at, features, nearness, shares_of
from advbench.synthesis.stages import content_layer, named_layers, texture_layers
from advbench.synthesis.style.recipes import Recipe
from advbench.synthesis.texture.comparisons import Comparison
from advbench.types import ConfigError


@dataclass(frozen=True)
class Question:
    """How pictures are compared."""

    recipe: Recipe
    mix: Sequence[float]
    comparison: Comparison
    draws: Draws
    smooth: bool


def style_target(model: nn.Module, content: Tensor, styles: Sequence[Tensor], question: Question) -> Target:
    """Nearness to content (B, C, H, W) and to the texture of styles, each (B or 1, C, h, w)."""
    recipe, count = question.recipe, len(content)
    spatial = _named(model, recipe.content_layers, content) or [content_layer(model, content)]
    textured = _named(model, recipe.style_layers, content) or texture_layers(model, content)
    shares = shares_of(textured, recipe.layer_weights)
    seen = _features(model, content, [*spatial, *textured], smooth=question.smooth)
    _check_strength(seen[textured[0]], recipe, textured[0])
    ours = [_features(model, each.expand(count, -1, -1, -1), textured, smooth=question.smooth) for each in styles]
    distances = {
        layer: question.comparison([maps[layer] for maps in ours], question.mix, question.draws, layer)
        for layer in textured
    }
    worth = balanced(distances_at(seen, distances), shares) if recipe.balanced else _as_given(shares, content)
    terms = [Term(layer, recipe.style_weight * worth[layer], distances[layer]) for layer in textured]
    terms += [
        Term(
            layer,
            recipe.content_weight / len(spatial) * _unit(seen[layer], balanced=recipe.balanced),
            _from(seen[layer]),
        )
        for layer in spatial
    ]
    if question.smooth:
        terms = [Term(term.layer, term.weight, _smoothly(term.distance)) for term in terms]
    return nearness([term for term in terms if bool(term.weight.any())], "style")


def shares_of_styles(count: int, mix: Sequence[float]) -> list[float]:
    """Shares that sum to 1; equal ones if none are given. Raises ConfigError for a wrong number, or negative ones."""
    given = list(mix) or [1.0] * count
    if len(given) != count or not count or min(given) < 0 or sum(given) <= 0:
        raise ConfigError(f"mix {given} for {count} styles: give one share for each, none negative, not all 0")
    return [share / sum(given) for share in given]


def smoothed(maps: Tensor) -> Tensor:
    """softmax over all channels and positions of maps (A, C, H, W), times their number: the mean is 1.

    A residual net's few strong activations then do not make up the whole Gram matrix. Wang et al. 2021,
    arXiv:2104.05623, equation 8.
    """
    flat = maps.flatten(1)
    return (flat.softmax(1) * flat.shape[1]).reshape(maps.shape)


def _check_strength(maps: Tensor, recipe: Recipe, layer: str) -> None:
    mean = float(maps.abs().mean()) if len(maps) else 0.0
    if mean > recipe.strongest:
        raise ConfigError(
            f"this preset's weights are for torchvision's own weights of SqueezeNet 1.1; here the maps of {layer} have "
            f"a mean of {mean:.3g}, more than {recipe.strongest:g}: take the preset default, whose losses have no unit"
        )


def _named(model: nn.Module, layers: Sequence[str], image: Tensor) -> list[str]:
    return named_layers(model, layers, image) if layers else []


def _features(model: nn.Module, image: Tensor, layers: Sequence[str], *, smooth: bool) -> dict[str, Tensor]:
    found = features(model, image, layers)
    return {layer: smoothed(maps) for layer, maps in found.items()} if smooth else found


def _smoothly(distance: Distance) -> Distance:
    return lambda maps, rows: distance(smoothed(maps), rows)


def _from(wanted: Tensor) -> Distance:
    """Half the squared distance of the maps from those of the content, position by position."""
    return lambda maps, rows: 0.5 * (maps - wanted[rows]).square().flatten(1).sum(1)


def _unit(maps: Tensor, *, balanced: bool) -> Tensor:
    """1 over the distance of maps that are the content's mean everywhere; 1 if sums are wanted as they are: (B,)."""
    if not balanced:
        return torch.ones_like(maps.flatten(1)[:, 0])
    spread = 0.5 * (maps - maps.mean((2, 3), keepdim=True)).square().flatten(1).sum(1)
    return torch.where(spread > 0, 1.0 / torch.where(spread > 0, spread, 1.0), 0.0)


def _as_given(shares: Mapping[str, float], content: Tensor) -> dict[str, Tensor]:
    return {layer: content.new_full((len(content),), share) for layer, share in shares.items()}
