"""One dream through the octaves of a picture: from small to large, carrying what was added, not the picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.projections import into_box
from advbench.core.step_rules import StepRule
from advbench.core.targets import Target
from advbench.core.transforms import jitter
from advbench.synthesis.render import render


def octave_sizes(height: int, width: int, octaves: int, ratio: float, smallest: int) -> list[tuple[int, int]]:
    """(height, width) of each octave, the last the picture's own, each `ratio` times the one before.

    Those with a side below `smallest` are left out; the last never is.
    """
    sizes = [(round(height / ratio**i), round(width / ratio**i)) for i in range(octaves)]
    return [size for size in sizes[:0:-1] if min(size) >= smallest] + [(height, width)]


def even_step(size: float) -> StepRule:
    """Against the gradient, `size` on average over pixels and channels in each sample; nothing where it is zero.

    Layers and networks then dream equally strongly.
    """

    def update(grad: Tensor, state: tuple[Tensor, ...], progress: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        mean = grad.abs().flatten(1).mean(1).clamp_min(torch.finfo(grad.dtype).tiny)
        return -size * grad / mean.reshape(-1, 1, 1, 1), state

    return StepRule(lambda z: (), update)


def through_octaves(
    model: nn.Module,
    target: Target,
    image: Tensor,
    sizes: list[tuple[int, int]],
    *,
    draws: Draws,
    steps: int,
    step_size: float,
    shift: int,
) -> Tensor:
    """The dream (B, C, H, W) in [0, 1] over image. With no steps it is the image, bit for bit."""
    detail = torch.zeros_like(image[:, :, :1, :1])
    for octave, size in enumerate(sizes):
        last = size == tuple(image.shape[2:])
        base = image if last else resized(image, size).clamp(0.0, 1.0)
        start = base + resized(detail, size)
        dreamt = render(
            model,
            target,
            start.clamp(0.0, 1.0),
            draws=draws.branch(f"octave {octave}"),
            step=even_step(step_size),
            steps=steps,
            view=jitter(shift) if shift else None,
            project=into_box(),
        )
        # What the base lost when it was made small is not counted: it comes back with the next base.
        detail = dreamt - base
    return dreamt


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, and free of aliases when it shrinks."""
    return functional.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
