"""The same pictures from several networks: what training against attacks does to what a network sees.

Gradients of adversarially trained networks look like what they were trained to tell apart: Engstrom et al. 2019,
arXiv:1906.00945, Santurkar et al. 2019, arXiv:1906.09453.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import logit
from advbench.synthesis.dream.dream import dream
from advbench.synthesis.dream.dream_target import dream_layer
from advbench.synthesis.inversion.inversion import inversion
from advbench.synthesis.visualize.visualize import visualize
from advbench.types import ConfigError


class SideBySide(NamedTuple):
    """Pictures (M, B, C, H, W) in [0, 1]: for each model and image the class image, the dream and the inversion."""

    classes: Tensor
    dreams: Tensor
    inversions: Tensor


def side_by_side(
    models: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    *,
    draws: Draws,
    preset: str = "default",
    steps: int = 128,
    dream_steps: int = 20,
) -> SideBySide:
    """Class images of y (B,), dreams over x (B, C, H, W) and inversions of x from the layer dreamt at, of each model.

    Equal draws, so that the models alone make the difference. The inversions have no total variation: a prior would
    hide it. steps: of class images and inversions; dream_steps: in each octave. Raises ConfigError without a model.
    """
    if not models:
        raise ConfigError("side_by_side: needs at least one model")
    shape = (x.shape[1], x.shape[2], x.shape[3])
    classes, dreams, inversions = [], [], []
    for model in models:
        layer = dream_layer(model, x[:1])
        classes.append(visualize(model, logit(y), draws=draws, shape=shape, preset=preset, steps=steps))
        dreams.append(dream(model, x, draws=draws, layers=layer, steps=dream_steps))
        inversions.append(
            inversion(model, x, draws=draws, layer=layer, variation=0.0, alpha_weight=0.0, restarts=1, steps=steps)
        )
    return SideBySide(torch.stack(classes), torch.stack(dreams), torch.stack(inversions))
