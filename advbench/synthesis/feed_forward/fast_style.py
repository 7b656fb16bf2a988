"""A photograph painted in one pass by a trained network. Johnson et al. 2016, arXiv:1603.08155."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.registry import synthesis
from advbench.synthesis.feed_forward.networks import TransformNet
from advbench.synthesis.feed_forward.train_style import paint
from advbench.synthesis.feed_forward.video import painted_frames
from advbench.types import ConfigError


@synthesis(paper="arXiv:1603.08155")
def fast_style(
    model: nn.Module | None,
    image: Tensor,
    network: nn.Module,
    *,
    draws: Draws,
    mix: Sequence[float] = (),
    smoothing: float = 0.0,
) -> Tensor:
    """image (B, 3, H, W) in [0, 1], painted by the network that `train_style` made: (B, 3, H, W).

    mix: how much of each of the network's styles; empty: the first. smoothing: above 0 the images are frames of one
    scene, painted one after the other, see `video.painted_frames`. model and draws are not used. Raises ConfigError for
    a network of another kind and shares that do not fit.
    """
    if not isinstance(network, TransformNet):
        raise ConfigError("fast_style needs a network of `train-style transform`; a decoder belongs to adaptive_style")

    def painted(x: Tensor) -> Tensor:
        return paint(network, x, mix)

    if smoothing:
        return torch.cat(list(painted_frames(painted, torch.split(image, 1), smoothing=smoothing)))
    return torch.cat([painted(part) for part in torch.split(image, 1)])
