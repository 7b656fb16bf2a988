"""A journey into a dream: each frame is the one before, a little enlarged, dreamt over again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import Target
from advbench.core.transforms import warp
from advbench.registry import synthesis
from advbench.synthesis.dream.dream import checked_sizes, noise_image, one_image
from advbench.synthesis.dream.dream_target import dream_target
from advbench.synthesis.dream.octaves import through_octaves
from advbench.types import ConfigError


@synthesis(paper="https://research.google/blog/inceptionism-going-deeper-into-neural-networks/")
def dream_zoom(
    model: nn.Module,
    image: Tensor | None = None,
    *,
    draws: Draws,
    frames: int = 20,
    layers: str | Target | None = None,
    guide: Tensor | None = None,
    zoom: float = 1.05,
    turn: float = 0.0,
    octaves: int = 2,
    ratio: float = 1.4,
    steps: int = 4,
    step_size: float = 1.5 / 255,
    jitter: int = 32,
    shape: tuple[int, int, int] = (3, 224, 224),
) -> Tensor:
    """Frames (N, C, H, W) in [0, 1], all of the image's size, from image (1, C, H, W) or from noise of `shape`.

    The first frame is a dream over the image itself. zoom: how much larger each frame shows the one before, about its
    centre; 1.05 is the published stream's. turn: degrees per frame. The rest as in `dream`, with fewer octaves and
    steps, since frames dream on. Raises ConfigError for frames < 1, zoom <= 0 and more than one image.
    """
    if frames < 1 or zoom <= 0:
        raise ConfigError(f"dream_zoom: need frames >= 1 and zoom > 0, got {frames} and {zoom}")
    start = noise_image(draws, shape)[:1] if image is None else one_image(image.detach(), "dream_zoom")
    stream = zoom_stream(
        model,
        start,
        dream_target(model, layers, start, guide),
        draws=draws,
        zoom=zoom,
        turn=turn,
        sizes=checked_sizes(start, octaves, ratio),
        steps=steps,
        step_size=step_size,
        jitter=jitter,
    )
    return torch.cat(list(islice(stream, frames)))


def zoom_stream(
    model: nn.Module,
    frame: Tensor,
    target: Target,
    *,
    draws: Draws,
    zoom: float,
    turn: float,
    sizes: list[tuple[int, int]],
    steps: int,
    step_size: float,
    jitter: int,
) -> Iterator[Tensor]:
    """The frames (1, C, H, W) one after the other, without end: what has been seen need not be kept."""
    shift, number, mine = min(jitter, min(sizes[0]) // 8), 0, draws.rows(torch.arange(1))
    while True:
        frame = through_octaves(
            model,
            target,
            frame,
            sizes,
            draws=mine.branch(f"frame {number}"),
            steps=steps,
            step_size=step_size,
            shift=shift,
        )
        yield frame
        frame, number = next_view(frame, zoom, turn), number + 1


def next_view(frame: Tensor, zoom: float, turn: float) -> Tensor:
    """frame (1, C, H, W) enlarged and turned about its centre, on the same canvas."""
    if zoom == 1 and turn == 0:
        return frame
    angle = frame.new_full((len(frame),), math.radians(turn))
    return warp(frame, factor=frame.new_full((len(frame),), zoom), angle=angle).clamp(0.0, 1.0)
