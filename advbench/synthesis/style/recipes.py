"""Settings of style transfer that belong together, by the name of where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from advbench.types import ConfigError


@dataclass(frozen=True)
class Recipe:
    """What `style` does unless told otherwise; its parameters say what each of these means.

    balanced: losses without unit; else sums as they are, and strongest is the largest mean of the first style layer's
    maps for which the weights can be meant.
    """

    content_layers: Sequence[str] = ()
    style_layers: Sequence[str] = ()
    layer_weights: Sequence[float] = ()
    content_weight: float = 1.0
    style_weight: float = 30.0  # at 10 patches keep the photograph's colours; at 100 SqueezeNet loses small things
    tv_weight: float = 5.0
    sizes: Sequence[int] = ()
    steps: Sequence[int] = (150,)
    optimiser: str = "lbfgs"
    rate: float = 0.02
    start: str = "content"
    pooling: str = "as it is"
    padding: str = "reflect"
    balanced: bool = True
    strongest: float = math.inf
    style_side: int = 0


RECIPES: Mapping[str, Recipe] = {
    # From half of the size up: strokes longer than a layer's view come from there.
    "default": Recipe(steps=(120, 80)),
    # Gatys et al. 2016, arXiv:1508.06576 and arXiv:1611.07865: average pooling, L-BFGS, 512 pixels, then 800.
    "gatys": Recipe(tv_weight=0.0, sizes=(512, 800), steps=(500, 200), pooling="average", padding="as it is"),
    # The course's exercise (cs231n, style transfer): weights for S / (C H W) and sums of squares, which fit the scale
    # of activations of torchvision's SqueezeNet 1.1. Its pixels have a deviation of about 0.225: TV and rate converted.
    "cs231n": Recipe(
        content_layers=("features.3",),
        style_layers=("features.1", "features.4", "features.6", "features.7"),
        layer_weights=(300000.0, 1000.0, 15.0, 3.0),
        content_weight=0.12,  # 0.06 of a sum of squares, here halved
        style_weight=1.0,
        tv_weight=0.02 / 0.225**2,
        sizes=(192,),
        steps=(200,),
        optimiser="adam",
        rate=3.0 * 0.225,
        padding="as it is",
        balanced=False,
        # A first layer that sees normalised pixels stays below 3; one made for bytes, as Caffe's, has a mean of 18, and
        # its style would count 5,000 times the content.
        strongest=5.0,
        style_side=192,
    ),
}


def recipe_named(name: str) -> Recipe:
    """Raises ConfigError for a name that is not in the table."""
    if name not in RECIPES:
        raise ConfigError(f"no style preset {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
