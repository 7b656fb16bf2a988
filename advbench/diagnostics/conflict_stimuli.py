"""Pictures with the shape of one class and the texture of another, painted by style transfer from labelled images.

Geirhos et al. 2019, arXiv:1811.12231, section 2.1: the paper's are of chosen photographs and textures, these of any two
images of a data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.gram import gram, gram_distance
from advbench.synthesis.compared import features
from advbench.synthesis.stages import texture_layers
from advbench.synthesis.style.style import style
from advbench.types import ConfigError

Images = Callable[[Tensor], Tensor]  # ids (n,) -> images (n, C, H, W) in [0, 1]
STYLE_WEIGHT = 100.0  # against the content's 1: the texture's class must be as plain as the shape's


class Pair(NamedTuple):
    """Which image lends its shape, which its texture, and their classes."""

    shape_id: int
    texture_id: int
    shape: int
    texture: int


class Painted(NamedTuple):
    """Stimuli (B, C, side, side) of some pairs, and how well they came out, (B,) each.

    style_left: the distance from the texture's image in style, to that of the shape's image: 0.1 says that nine tenths
    are gone. edges: correlation of the edges with those of the shape's image; other_edges: with the texture's image.
    """

    pairs: tuple[Pair, ...]
    images: Tensor
    style_left: Tensor
    edges: Tensor
    other_edges: Tensor


def conflict_pairs(labels: Tensor, classes: Sequence[int], *, each: int = 1, seed: int = 0) -> list[Pair]:
    """Every ordered pair of two different classes, `each` times, with images drawn by the seed.

    labels (N,): the classes of the images 0 .. N - 1. A class's images come in turn, so that as many as possible are
    used. Raises ConfigError for fewer than two classes, one named twice, and one without an image.
    """
    if len(classes) < 2 or len(set(classes)) != len(classes) or each < 1:
        raise ConfigError(f"stimuli need two different classes or more and each >= 1, got {list(classes)} and {each}")
    members = {}
    for kind in classes:
        ids = (labels == kind).nonzero().flatten().cpu()
        if not len(ids):
            raise ConfigError(f"class {kind} has no image to take a shape or a texture from")
        members[kind] = ids[Draws(seed, ids).words(1, "stimuli")[:, 0].argsort(stable=True)].tolist()
    pairs = []
    used = dict.fromkeys(classes, 0)
    for shape in classes:
        for texture in classes:
            for _ in range(each if shape != texture else 0):
                ids_of = [members[kind][used[kind] % len(members[kind])] for kind in (shape, texture)]
                pairs.append(Pair(ids_of[0], ids_of[1], shape, texture))
                used[shape], used[texture] = used[shape] + 1, used[texture] + 1
    return pairs


def conflict_stimuli(
    painter: nn.Module,
    images: Images,
    pairs: Sequence[Pair],
    *,
    side: int = 128,
    channels: int = 3,
    style_weight: float = STYLE_WEIGHT,
    steps: Sequence[int] = (40, 60),
    batch: int = 8,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Iterator[Painted]:
    """The stimuli of the pairs, in groups of at most `batch` as they are done.

    painter: a trained network on images of `channels` channels, whose features say what content and style are: VGG-19,
    then SqueezeNet. side: images are brought to this size first; small ones must be made larger, or the painter's first
    strokes cover a fifth of them. steps: of L-BFGS at half of the size and at the whole. Where the images have one
    channel, all channels of a stimulus are equal. Raises ConfigError for what `synthesis.style` refuses.
    """
    for start in range(0, len(pairs), batch):
        chosen = tuple(pairs[start : start + batch])
        ids = [pair.shape_id for pair in chosen], [pair.texture_id for pair in chosen]
        given = [images(torch.tensor(each)).to(device) for each in ids]
        grey = given[0].shape[1] == 1
        content, texture = (_prepared(each, side, channels) for each in given)
        draws = Draws(seed, torch.arange(start, start + len(chosen), device=content.device))
        made = style(
            painter, content, texture, draws=draws, style_weight=style_weight, steps=tuple(steps), tv_weight=1.0
        )
        if grey:
            made = made.mean(1, keepdim=True).expand_as(made)
        left = style_distance(painter, made, texture) / style_distance(painter, content, texture)
        yield Painted(
            chosen, made.cpu(), left.cpu(), edge_likeness(made, content).cpu(), edge_likeness(made, texture).cpu()
        )


def style_distance(painter: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    """(B,): relative squared distance of the Gram matrices of two batches (B, C, H, W), mean over texture layers."""
    layers = texture_layers(painter, first)
    one, other = (features(painter, each, layers) for each in (first, second))
    own = {layer: gram(other[layer]) for layer in layers}
    apart = [gram_distance(gram(one[layer]), own[layer]) / _strength(own[layer]) for layer in layers]
    return torch.stack(apart).mean(0)


def edge_likeness(first: Tensor, second: Tensor) -> Tensor:
    """(B,): correlation over pixels of the strengths of the edges of two batches (B, C, H, W), in [-1, 1].

    Edges are lengths of the gradient of the mean channel, looked at through a 5 x 5 mean: a pixel's shift is no change.
    """
    one, other = (_edges(each).flatten(1) for each in (first, second))
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    return functional.cosine_similarity(one, other, dim=1)


def _edges(x: Tensor) -> Tensor:
    grey = functional.avg_pool2d(x.mean(1, keepdim=True), 5, 1, 2, count_include_pad=False)
    right, down = grey[..., :-1, 1:] - grey[..., :-1, :-1], grey[..., 1:, :-1] - grey[..., :-1, :-1]
    return (right.square() + down.square()).sqrt()


def _strength(matrix: Tensor) -> Tensor:
    return matrix.square().flatten(1).mean(1).clamp_min(torch.finfo(matrix.dtype).tiny)


def _prepared(x: Tensor, side: int, channels: int) -> Tensor:
    """x (B, C, H, W) as (B, channels, side, side): grey where a channel is missing, or too many are there."""
    if x.shape[1] != channels:
        x = x.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if x.shape[2:] == (side, side):
        return x.contiguous()
    return functional.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0.0, 1.0)
