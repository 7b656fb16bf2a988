"""A picture painted in the style of others: features of one, textures of the others. arXiv:1508.06576."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.keep import keep_strongest
from advbench.core.priors import Prior, total_variation
from advbench.core.projections import identity
from advbench.registry import synthesis
from advbench.synthesis.colour_match import match_brightness, match_colours
from advbench.synthesis.optimisers import Handover, optimiser_named
from advbench.synthesis.render import Weighted, render
from advbench.synthesis.restyled import restyled
from advbench.synthesis.style.objective import Question, shares_of_styles, style_target
from advbench.synthesis.style.recipes import Recipe, recipe_named
from advbench.synthesis.texture.comparisons import comparison_named
from advbench.types import ConfigError

_STARTS = {"content": 0.0, "blend": 0.5, "noise": 1.0}  # share of noise
_FENCE = 100.0  # an excess of 0.1 everywhere costs 3: more than most styles gain
_COLOURS = ("style", "brightness", "statistics")


@synthesis(paper="arXiv:1508.06576")
def style(
    model: nn.Module,
    content: Tensor,
    styles: Tensor | Sequence[Tensor],
    *,
    draws: Draws,
    preset: str = "default",
    content_layers: Sequence[str] | None = None,
    style_layers: Sequence[str] | None = None,
    layer_weights: Sequence[float] | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    sizes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    optimiser: str | None = None,
    rate: float | None = None,
    start: str | None = None,
    pooling: str | None = None,
    padding: str | None = None,
    mix: Sequence[float] = (),
    style_scale: float = 1.0,
    colours: str = "style",
    loss: str = "gram",
    smooth: bool = False,
) -> Tensor:
    """Images (B, C, H, W) in [0, 1]: content (B, C, H, W) in the style of one or more pictures (B or 1, C, h, w).

    preset: "default", "gatys" (average pooling, L-BFGS, 512 then 800 pixels) or "cs231n" (for torchvision's weights of
    SqueezeNet 1.1 alone); it sets every parameter that is None. content_layers, style_layers: if empty, found by
    looking (relu4_2, and relu1_1 ... relu5_1 of a VGG, which also goes by these names). content_weight, style_weight:
    of losses without unit: content 1 is a picture without any content, style 1 the content as it is, each layer in its
    share of layer_weights. tv_weight: of the total variation, mean per pixel. (All are sums in "cs231n".) sizes: longer
    sides, one for each phase; if empty, the content's own last and half as much before. steps: of each phase.
    optimiser: "lbfgs", or "adam" with a `rate` in pixel units. start: "content", "noise" or "blend". pooling, padding,
    loss: as in `texture`. mix: shares of the styles. style_scale: side of the styles to that of the picture; larger
    gives larger strokes. colours: the "style"'s, or the content's, kept by "brightness" (only that is painted) or
    "statistics" (styles are recoloured). smooth: softmax of maps first, for residual nets (SWAG, arXiv:2104.05623).

    The loss falls to half of its start or less. Suits VGG-19, then SqueezeNet. Raises ConfigError for unknown words and
    layers, and numbers that do not fit each other.
    """
    given, base = locals(), recipe_named(preset)
    recipe = replace(base, **{each.name: given[each.name] for each in fields(base) if given.get(each.name) is not None})
    paintings = [styles] if isinstance(styles, Tensor) else list(styles)
    question = Question(recipe, shares_of_styles(len(paintings), mix), comparison_named(loss), draws, smooth)
    _check(recipe, content, paintings, colours=colours, style_scale=style_scale)
    if colours == "statistics":
        paintings = [match_colours(each.expand(len(content), -1, -1, -1), content).clamp(0, 1) for each in paintings]
    made = _painted(model, content, paintings, question, style_scale)
    if colours == "brightness":
        return match_brightness(made, fitted(content, max(made.shape[2:]))).clamp(0.0, 1.0)
    return made


def _painted(
    model: nn.Module, content: Tensor, paintings: Sequence[Tensor], question: Question, style_scale: float
) -> Tensor:
    """One phase for each size, each starting from the picture of the one before."""
    recipe, draws = question.recipe, question.draws
    seeing, _ = restyled(model, content, pooling=recipe.pooling, padding=recipe.padding)
    handover = Handover(optimiser_named(recipe.optimiser, recipe.rate, min(recipe.steps)))
    made: Tensor | None = None
    for side, count in zip(_sides(recipe, content), recipe.steps, strict=True):
        small = fitted(content, side)
        seen = [fitted(each, round(style_scale * (recipe.style_side or side))) for each in paintings]
        made = render(
            seeing,
            style_target(seeing, small, seen, question),
            _start(small, draws, recipe) if made is None else fitted(made, side),
            draws=draws,
            step=handover.step(),
            steps=count,
            priors=_priors(recipe),
            project=_inside if recipe.optimiser == "adam" else identity,
            keep=keep_strongest,
        ).clamp(0.0, 1.0)
    assert made is not None
    return made


def fitted(image: Tensor, side: int) -> Tensor:
    """image (B, C, H, W) with a longer side of `side` pixels, in [0, 1]."""
    height, width = image.shape[2:]
    factor = side / max(height, width)
    size = (max(1, round(factor * height)), max(1, round(factor * width)))
    if size == (height, width):
        return image
    return functional.interpolate(image, size=size, mode="bicubic", antialias=True).clamp(0.0, 1.0)


def _sides(recipe: Recipe, content: Tensor) -> list[int]:
    whole, phases = max(content.shape[2:]), len(recipe.steps)
    sides = list(recipe.sizes) or [max(1, whole >> (phases - 1 - i)) for i in range(phases)]
    if len(sides) != phases or not phases:
        raise ConfigError(f"{len(sides)} sizes and steps for {phases}: one number of steps for each size")
    return sides


def _check(recipe: Recipe, content: Tensor, paintings: Sequence[Tensor], *, colours: str, style_scale: float) -> None:
    _sides(recipe, content)
    if recipe.start not in _STARTS:
        raise ConfigError(f"start must be one of {', '.join(_STARTS)}, got {recipe.start!r}")
    if colours not in _COLOURS:
        raise ConfigError(f"colours must be one of {', '.join(_COLOURS)}, got {colours!r}")
    if style_scale <= 0:
        raise ConfigError(f"style_scale must be positive, got {style_scale}")
    if min(recipe.content_weight, recipe.style_weight, recipe.tv_weight) < 0:
        raise ConfigError("content_weight, style_weight and tv_weight must not be negative")
    for each in paintings:
        if len(each) not in (1, len(content)) or each.shape[1] != content.shape[1]:
            raise ConfigError(f"a style of shape {tuple(each.shape)} does not fit content of {tuple(content.shape)}")


def _start(content: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    share = _STARTS[recipe.start]
    if share == 0.0:
        return content
    noise = 0.5 + 0.2 * draws.normal(tuple(content.shape[1:]), "start").to(content)
    return ((1.0 - share) * content + share * noise).clamp(0.0, 1.0)


def _priors(recipe: Recipe) -> list[Weighted]:
    """The total variation: a mean per pixel where losses are without unit, else the sum. And a fence around the box."""
    variation = total_variation()
    mean: Prior = lambda z: variation(z) / (z.shape[2] * z.shape[3])  # noqa: E731
    priors = [(recipe.tv_weight, mean if recipe.balanced else variation)] if recipe.tv_weight else []
    # L-BFGS is not projected: what it gains outside of [0, 1] would be cut off in the end.
    return priors if recipe.optimiser == "adam" else [*priors, (_FENCE, _outside)]


def _outside(z: Tensor) -> Tensor:
    """Mean per pixel of the squared distance from [0, 1]: (A,)."""
    return (z - z.clamp(0.0, 1.0)).square().sum(1).mean((1, 2))


def _inside(z: Tensor, rows: Tensor) -> Tensor:
    """For Adam: L-BFGS would learn a wrong curvature from moves that were cut short."""
    return z.clamp(0.0, 1.0)
