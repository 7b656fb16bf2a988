"""One image for each facet of a unit, started from the images it likes. Nguyen et al. 2016, arXiv:1602.03616."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.priors import total_variation
from advbench.core.projections import Project
from advbench.core.redirected_relu import redirected_relu
from advbench.core.step_rules import adam
from advbench.core.targets import Target, parse_target
from advbench.core.transforms import View, compose, jitter, rotate
from advbench.registry import synthesis
from advbench.synthesis.render import render
from advbench.synthesis.visualize.facets import find_facets
from advbench.types import ConfigError

# Canvas as a share of the picture, share of the steps, and the share of each side that stays as it is: the paper's 190
# steps on a small canvas, 150 on one 1.2 times as large, and a last look at the centre alone.
_PHASES = ((1 / 1.2, 0.5, 0.0), (1.0, 0.4, 0.0), (1.0, 0.1, 50 / 227))


@synthesis(paper="arXiv:1602.03616")
def multifaceted(
    model: nn.Module,
    target: str | Target,
    *,
    draws: Draws,
    images: Tensor,
    facets: int = 10,
    nearest: int = 15,
    layer: str | None = None,
    steps: int = 200,
    step_size: float = 0.01,
    variation: float = 100.0,
) -> Tensor:
    """Pictures (F, C, H, W) in [0, 1] of the size of images (N, C, H, W), one for each facet of the target.

    images: of the user, among which the target has its favourites; they are grouped by the features of `layer` (None:
    those before the last layer) into at most `facets` groups, as many as lie apart best. Each picture starts from the
    mean of the `nearest` images to a group's centre and climbs on a small canvas, on a larger one, and last in the
    middle alone (the paper's centre bias). step_size: of Adam, in pixel values. variation: times the mean total
    variation. Raises ConfigError for a target that is none, no images, facets < 1 and steps < 1.
    """
    if steps < 1:
        raise ConfigError(f"multifaceted: steps must be at least 1, got {steps}")
    wanted = parse_target(target) if isinstance(target, str) else target
    found = find_facets(model, wanted, images, most=facets, nearest=nearest, layer=layer, seed=draws.seed)
    z, height, width = found.start, images.shape[2], images.shape[3]
    # The pictures are no samples of the caller's batch: they are numbered by their place.
    mine = Draws(draws.seed, torch.arange(len(z), device=z.device))
    for number, (canvas, share, margin) in enumerate(_PHASES):
        size = (max(1, round(canvas * height)), max(1, round(canvas * width)))
        z = functional.interpolate(z, size=size, mode="bilinear", align_corners=False, antialias=True).clamp(0.0, 1.0)
        with redirected_relu():
            z = render(
                model,
                wanted,
                z,
                draws=mine.branch(f"phase {number}"),
                step=adam(step_size),
                steps=max(1, round(share * steps)),
                view=compose(jitter(max(1, min(size) // 28)), rotate(5.0), _zoomed(height, width)),
                priors=[(variation / z[0].numel(), total_variation())],
                project=_inside(z, margin),
            )
    return z


def _zoomed(height: int, width: int) -> View:
    """To the network's size, which a small canvas does not have: it holds the low frequencies only."""
    size = (height, width)
    return lambda z, draws, counter: functional.interpolate(z, size=size, mode="bilinear", align_corners=False)


def _inside(first: Tensor, margin: float) -> Project:
    """Into [0, 1], and as `first` (F, C, H, W) was in a rim of `margin` times the sides."""
    height, width = first.shape[2:]
    top, left = round(margin * height), round(margin * width)
    free = torch.zeros(height, width, dtype=torch.bool, device=first.device)
    free[top : height - top, left : width - left] = True
    return lambda z, rows: torch.where(free, z, first[rows]).clamp(0.0, 1.0)
