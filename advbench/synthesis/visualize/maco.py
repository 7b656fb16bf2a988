"""Images with the spectrum of photographs, of which only the phases climb. Fel et al. 2023, arXiv:2306.06805."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.journal import tallied
from advbench.core.redirected_relu import redirected_relu
from advbench.core.step_rules import adam
from advbench.core.targets import Target, parse_target
from advbench.core.transforms import View, compose, crop_resize, noise
from advbench.registry import synthesis
from advbench.synthesis.render import render
from advbench.synthesis.visualize.spectrum import falling_spectrum, natural_spectrum, phases
from advbench.types import ConfigError


@synthesis(paper="arXiv:2306.06805")
def maco(
    model: nn.Module,
    target: str | Target,
    *,
    draws: Draws,
    shape: tuple[int, int, int] = (3, 224, 224),
    images: Tensor | None = None,
    steps: int = 128,
    step_size: float = 0.3,
    crops: int = 4,
    smallest: float = 0.3,
    largest: float = 0.9,
    grain: float = 0.05,
    redirected: bool = True,
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] of `shape` that raise the target and have the magnitudes of natural images.

    target: as in `visualize`. images (N, C, h, w): whose mean spectrum is taken; None: one that falls as 1 / frequency.
    step_size: of Adam, in radians. crops: looks in a step, each a crop of `smallest` to `largest` of the sides, resized
    to `shape`, with noise of deviation `grain`. redirected: as in `visualize`. The paper has larger pictures, smaller
    crops and more steps; these are what a CPU does in a minute. `climbed` also gives the paper's map of where the
    picture matters. Raises ConfigError for a target that is none, shares outside of 0 < smallest <= largest <= 1, and
    crops < 1.
    """
    magnitude = falling_spectrum(shape) if images is None else natural_spectrum(images, shape)
    ascent = Ascent(steps, step_size, crops, smallest, largest, grain, redirected)
    return climbed(model, target, magnitude, shape, ascent, draws=draws).image


@dataclass(frozen=True)
class Ascent:
    """How the phases climb: the parameters of `maco`, which says what they mean."""

    steps: int
    step_size: float
    crops: int
    smallest: float
    largest: float
    grain: float
    redirected: bool

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= self.largest <= 1 or self.crops < 1:
            raise ConfigError(
                "maco: need 0 < smallest <= largest <= 1 and crops >= 1, "
                f"got {self.smallest}, {self.largest}, {self.crops}"
            )

    def view(self, shape: tuple[int, int, int]) -> View:
        """A random crop with grain."""
        return compose(crop_resize(self.smallest, self.largest, size=(shape[1], shape[2])), noise(self.grain))


class Climbed(NamedTuple):
    """image (B, C, H, W) in [0, 1]; importance (B, 1, H, W): mean |gradient| over all steps and channels, in score per
    pixel value.
    """

    image: Tensor
    importance: Tensor


def climbed(
    model: nn.Module,
    target: str | Target,
    magnitude: Tensor,
    shape: tuple[int, int, int],
    ascent: Ascent,
    *,
    draws: Draws,
) -> Climbed:
    """The images of `maco` with magnitudes (C, H, W // 2 + 1), and where the score depended on them on the way."""
    wanted = parse_target(target) if isinstance(target, str) else target
    start = 2.0 * math.pi * draws.uniform(tuple(magnitude.shape), "phases") - math.pi
    importance = torch.zeros(len(start), 1, *shape[1:], device=start.device)

    def noted(grad: Tensor) -> None:
        importance.add_(grad.abs().mean(1, keepdim=True) / ascent.steps)

    def watched(image: Tensor) -> Tensor:
        if image.requires_grad:
            image.register_hook(noted)  # type: ignore[no-untyped-call]
        return torch.zeros_like(image[:, 0, 0, 0])

    with redirected_relu() if ascent.redirected else nullcontext(), tallied(importance):
        image = render(
            model,
            wanted,
            start,
            draws=draws,
            step=adam(ascent.step_size),
            steps=ascent.steps,
            parameterisation=phases(magnitude, shape),
            view=ascent.view(shape),
            looks=ascent.crops,
            # A prior that costs nothing: it only looks at the gradient that arrives at the picture.
            priors=[(1.0, watched)],
        )
    return Climbed(image, importance)
