"""A dream: what a layer sees in a picture is made stronger, octave by octave. Mordvintsev et al. 2015, Inceptionism."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import Target
from advbench.registry import synthesis
from advbench.synthesis.dream.dream_target import dream_target
from advbench.synthesis.dream.octaves import octave_sizes, through_octaves
from advbench.types import ConfigError


@synthesis(paper="https://research.google/blog/inceptionism-going-deeper-into-neural-networks/")
def dream(
    model: nn.Module,
    image: Tensor | None = None,
    *,
    draws: Draws,
    layers: str | Target | None = None,
    guide: Tensor | None = None,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 10,
    step_size: float = 1.5 / 255,
    jitter: int = 32,
    shape: tuple[int, int, int] = (3, 224, 224),
) -> Tensor:
    """Dreams (B, C, H, W) in [0, 1] over image (B, C, H, W), or over noise of `shape` if image is None.

    Each step goes along the gradient of half the squared activations of `layers`, which is what backpropagating the
    activations themselves gives, `step_size` (pixel values) on average over the picture. layers: text as in
    `core.targets`, a Target, or None for the deepest layer that still knows places. guide (1, C, H', W'): a picture
    whose features, instead of the layer's own, are looked for. octaves, each `ratio` times as large as the one before,
    of `steps` steps; octaves below 64 pixels (or half the picture) are left out, the network sees nothing in them.
    jitter: pixels each way, at most an eighth of the smallest side. The published values are the defaults.
    Raises ConfigError for an unknown layer and numbers that are no octaves.
    """
    start = noise_image(draws, shape) if image is None else image.detach()
    sizes = checked_sizes(start, octaves, ratio)
    target = dream_target(model, layers, start[:1], guide)
    shift = min(jitter, min(sizes[0]) // 8)
    return through_octaves(model, target, start, sizes, draws=draws, steps=steps, step_size=step_size, shift=shift)


def checked_sizes(image: Tensor, octaves: int, ratio: float) -> list[tuple[int, int]]:
    """The octaves of image (B, C, H, W), from small to large. Raises ConfigError unless octaves >= 1 and ratio > 1."""
    if octaves < 1 or ratio <= 1:
        raise ConfigError(f"dream: need octaves >= 1 and ratio > 1, got {octaves} and {ratio}")
    height, width = image.shape[2:]
    return octave_sizes(height, width, octaves, ratio, min(64, min(height, width) // 2))


def noise_image(draws: Draws, shape: tuple[int, int, int]) -> Tensor:
    """Grey with soft noise (B, C, H, W), where a dream from nothing starts."""
    return (0.5 + 0.1 * draws.normal(shape, "dream noise")).clamp(0.0, 1.0)


def one_image(image: Tensor, what: str) -> Tensor:
    """image (1, C, H, W). Raises ConfigError for a batch: `what` is made from one picture."""
    if image.dim() != 4 or len(image) != 1:
        raise ConfigError(f"{what} is made from one image (1, C, H, W), got {tuple(image.shape)}")
    return torch.as_tensor(image)
