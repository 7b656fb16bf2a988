"""The recipes of class and feature images, as published, in numbers: one frozen record each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from advbench.core.step_rules import State, StepRule, adam, steepest
from advbench.names import nearest
from advbench.types import ConfigError

Space = Literal["fourier", "pixels", "normalised"]
Start = Literal["zeros", "noise", "photo"]


@dataclass(frozen=True)
class Recipe:
    """How an image is climbed to.

    space: what the free variables are, and the priors judge: "pixels" in [0, 1]; "normalised", (pixels - mean) / std
    of the network's first layer; "fourier", a spectrum with natural colours, where the priors judge the pixels.
    start: of the free variables; "noise" has standard deviation `deviation`.
    step(size): the step rule. jitter: pixels each way at 224 pixels, fewer in smaller images, at least 2. rotate:
    degrees each way. scale: the smallest and largest factor at 224 pixels, nearer to 1 in smaller images, down to a
    quarter of it. looks: views in a step.
    l2: times the sum of squares. total_variation, alpha_norm: times the mean over pixels and channels. edges: times
    the energy of `core.priors.edge_energy` with zeros outside.
    decay, sigma, every, small_values, small_contributions: see `core.upkeep`. bounded: stay what a picture can show.
    standardised: shown is 0.5 + 0.1 * (z - mean of z) / deviation of z instead of the pixels.
    """

    space: Space = "fourier"
    start: Start = "noise"
    deviation: float = 0.01
    step: Callable[[float], StepRule] = adam
    step_size: float = 0.05
    steps: int = 256
    jitter: int = 0
    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    looks: int = 1
    l2: float = 0.0
    total_variation: float = 0.0
    alpha_norm: float = 0.0
    edges: float = 0.0
    decay: float = 0.0
    sigma: float = 0.0
    every: int = 4
    small_values: float = 0.0
    small_contributions: float = 0.0
    bounded: bool = False
    standardised: bool = False


def along_gradient(size: float) -> StepRule:
    """Against the gradient, a root mean square of `size` over a sample's components, whatever the scale of the loss."""

    def update(grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        return steepest(2.0, size * math.sqrt(grad[0].numel())).update(grad, state, progress)

    return StepRule(lambda z: (), update)


# arXiv:1506.06579, table of four combinations: decay, blur radius and interval, percentages. The moves' sizes are ours,
# so that the four come out equally strong.
_yosinski = partial(
    Recipe,
    "normalised",
    "noise",
    0.17,
    along_gradient,
    steps=200,
    bounded=True,  # 10 of 255
)

RECIPES: dict[str, Recipe] = {
    # doi:10.23915/distill.00007, cut to what a CPU does in a minute; wide views, so that another network knows it too.
    "default": Recipe(steps=128, jitter=16, rotate=10.0, scale=(0.8, 1.2), total_variation=300.0),
    # arXiv:1312.6034, section 2: from the mean image, L2 alone.
    "simonyan": Recipe("normalised", "zeros", 0.0, along_gradient, 0.025, 100, l2=1e-3, bounded=True),
    "yosinski1": _yosinski(step_size=0.04, sigma=0.5, every=4, small_values=50.0),
    "yosinski2": _yosinski(step_size=0.2, decay=0.3, small_values=20.0),
    "yosinski3": _yosinski(step_size=0.06, decay=1e-4, sigma=1.0, every=4),
    "yosinski4": _yosinski(step_size=0.06, sigma=0.5, every=4, small_contributions=90.0),
    # Exercise of the course CS231n: L2, blur and jitter, for SqueezeNet. Its moves have length 25 at 3 x 224 x 224.
    "cs231n": Recipe(
        "normalised",
        "noise",
        1.0,
        along_gradient,
        0.064,
        100,
        jitter=16,
        l2=1e-3,
        sigma=0.5,
        every=10,
        bounded=True,
    ),
    # Deep learning course, lecture 9.4 (fleuret.org/dlc), for VGG16.
    "fleuret": Recipe("normalised", "noise", 0.01, adam, 0.1, 250, edges=1.0, standardised=True),
    # Nothing but the score: shows why the others are needed.
    "unregularised": Recipe("pixels", "noise", 0.01, adam, 0.02, 100, bounded=True),
}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError if there is none."""
    if name not in RECIPES:
        raise ConfigError(f"no preset named {name!r}; {nearest(name, list(RECIPES))}All: {', '.join(RECIPES)}")
    return RECIPES[name]
