"""A texture of any size from a sample: noise moved until a network's statistics agree. arXiv:1505.07376."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.keep import keep_strongest
from advbench.registry import synthesis
from advbench.synthesis.colour_match import match_named
from advbench.synthesis.compared import Term, balanced, distances_at, features, nearness, shares_of
from advbench.synthesis.optimisers import optimiser_named
from advbench.synthesis.render import render
from advbench.synthesis.restyled import restyled
from advbench.synthesis.stages import named_layers, texture_layers
from advbench.synthesis.texture.comparisons import comparison_named
from advbench.types import ConfigError

_LEAST = 32  # pixels of a side below which a sample is not halved: little of its structure would be left


@synthesis(paper="arXiv:1505.07376")
def texture(
    model: nn.Module,
    sample: Tensor,
    *,
    draws: Draws,
    size: Sequence[int] = (),
    layers: Sequence[str] = (),
    weights: Sequence[float] = (),
    loss: str = "gram",
    scales: int = 2,
    steps: int = 150,
    optimiser: str = "lbfgs",
    rate: float = 0.02,
    pooling: str = "as it is",
    padding: str = "reflect",
    colours: str = "histogram",
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with the texture of sample (B or 1, C, h, w), one for each of the draws.

    size: (H, W); twice the sample's if not given. layers: compared there; if not given, the first wide layer of each
    resolution (relu1_1 ... relu5_1 of a VGG, which also goes by these names). weights: of the layers, whose distances
    are each divided by that of noise, so that equal weights (the default) mean equal terms in any network. loss:
    "gram", "sliced_wasserstein" or "nearest_features". scales: sizes to go through, each twice the one before, with
    `steps` each: coarse structure first. optimiser: "lbfgs" (no line search) or "adam" with learning rate `rate` in
    pixel units, falling to 0. pooling: "as it is" or "average" (the paper's). padding of convolutions: "reflect" leaves
    no frame, "circular" makes a picture that can be tiled; "as it is", "zeros", "replicate". colours: given the
    sample's at the end by "histogram", "statistics" (mean and covariance) or "none".

    The loss starts at 1 and falls to 0.1 or less. Suits VGG-19, then SqueezeNet; a ResNet's peaky maps give poor
    textures. Raises ConfigError for unknown words and layers, and for a network without maps.
    """
    compare, match = comparison_named(loss), match_named(colours, "none", "histogram", "statistics")
    rule = optimiser_named(optimiser, rate, steps)
    count = len(draws.sample_ids)
    if len(sample) not in (1, count):
        raise ConfigError(f"{len(sample)} samples for {count} textures: give one, or one for each")
    sample = sample.expand(count, -1, -1, -1)
    size = size or (2 * sample.shape[2], 2 * sample.shape[3])
    if not count:
        return sample.new_zeros(0, sample.shape[1], *size)
    # The sample itself cannot be tiled: its seams are not part of the texture.
    seeing, _ = restyled(model, sample, pooling=pooling, padding="reflect" if padding == "circular" else padding)
    making, _ = restyled(seeing, sample, padding=padding)
    chosen = named_layers(seeing, layers, sample) if layers else texture_layers(seeing, sample)
    shares = shares_of(chosen, weights)
    made: Tensor | None = None
    for halvings in reversed(range(_halvings(sample, scales))):
        small = _resized(sample, (sample.shape[2] >> halvings, sample.shape[3] >> halvings))
        noise = _shuffled(small, (size[0] >> halvings, size[1] >> halvings), draws)
        wanted = features(seeing, small, chosen)
        distances = {layer: compare([wanted[layer]], [1.0], draws, layer) for layer in chosen}
        of_noise = distances_at(features(making, noise, chosen), distances)
        worth = balanced(of_noise, shares)
        target = nearness([Term(layer, worth[layer], distances[layer]) for layer in chosen], f"texture {loss}")
        start = noise if made is None else _resized(made, (noise.shape[2], noise.shape[3]))
        made = render(making, target, start, draws=draws, step=rule, steps=steps, keep=keep_strongest)
    assert made is not None
    return match(made, sample).clamp(0.0, 1.0)


def _halvings(sample: Tensor, scales: int) -> int:
    """How many sizes there will be: at most `scales`, fewer for a small sample."""
    if scales < 1:
        raise ConfigError(f"scales must be at least 1, got {scales}")
    side, possible = min(sample.shape[2:]), 1
    while side >> possible >= _LEAST:
        possible += 1
    return min(scales, possible)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[2:]) == size:
        return image
    return functional.interpolate(image, size=size, mode="bicubic", antialias=True).clamp(0.0, 1.0)


def _shuffled(sample: Tensor, size: tuple[int, int], draws: Draws) -> Tensor:
    """Pixels of the sample (B, C, h, w) drawn at random: its colours without its texture, (B, C, *size)."""
    flat = sample.flatten(2)
    index = draws.integers(flat.shape[2], (size[0] * size[1],), f"start {size}")
    return torch.gather(flat, 2, index[:, None].expand(-1, flat.shape[1], -1)).reshape(*flat.shape[:2], *size)
