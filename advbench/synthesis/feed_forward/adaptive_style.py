"""A photograph in a style that the decoder has never seen. Huang and Belongie 2017, arXiv:1703.06868."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.registry import synthesis
from advbench.synthesis.feed_forward.adaptive import Decoder, Encoder, adapt
from advbench.types import ConfigError


@synthesis(paper="arXiv:1703.06868")
def adaptive_style(
    model: nn.Module,
    content: Tensor,
    styles: Tensor | Sequence[Tensor],
    network: nn.Module,
    *,
    draws: Draws,
    alpha: float = 1.0,
    mix: Sequence[float] = (),
    layer: str | None = None,
) -> Tensor:
    """content (B, 3, H, W) in [0, 1] with the styles' feature statistics, decoded in one pass: (B, 3, H, W).

    styles: images (1, 3, h, w). network: the decoder that was trained on features of this `model` at this `layer`.
    alpha: 0 keeps the content's statistics. mix: shares of the styles, equal if empty. draws are not used. Raises
    ConfigError for a decoder of another network, and for numbers that do not fit.
    """
    if not isinstance(network, Decoder):
        raise ConfigError("adaptive_style needs a decoder of `train-style adaptive`; other networks go to fast_style")
    encoder = Encoder(model, content, layer)
    expected, found = encoder.channels, network.inputs
    if expected != found:
        raise ConfigError(f"this decoder draws {found} channels, layer {encoder.layer} of the model has {expected}")
    known = [styles] if isinstance(styles, Tensor) else list(styles)
    return torch.cat([adapt(encoder, network, part, known, alpha=alpha, mix=mix) for part in torch.split(content, 1)])
