"""What a picture-making network is trained to lower: content and style, as a judging network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.activations import Partial
from advbench.core.gradients import frozen
from advbench.core.gram import gram, gram_distance
from advbench.core.priors import total_variation
from advbench.synthesis.stages import content_layer, named_layers, texture_layers


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts. style: of Gram distances whose sum is 1 between content and style."""

    content: float = 1.0
    style: float = 5.0
    variation: float = 1e-3


class Judge:
    """A network's view of content and of several styles; distances are relative, so that any network can judge.

    The style distance of a layer is divided by that between the styles' and the photographs' Gram matrices: it is 1
    for a photograph left as it is, whatever the layer's width and strength. The content distance is divided by the
    squared length of the photograph's own features.
    """

    def __init__(
        self,
        model: nn.Module,
        styles: Sequence[Tensor],
        photos: Tensor,
        *,
        content: str | None = None,
        layers: Sequence[str] = (),
    ) -> None:
        """styles: images (1, 3, H, W); photos (N, 3, h, w): crops like those to come; layers: else found by looking."""
        self.model = model
        self.content = content or content_layer(model, photos)
        self.content = named_layers(model, [self.content], photos)[0]
        self.layers = named_layers(model, list(layers) or texture_layers(model, photos), photos)
        with frozen(model), torch.no_grad():
            self.partial = Partial(model, [self.content, *self.layers], photos[:1])
            self.grams = [{layer: gram(self.partial(style)[layer]) for layer in self.layers} for style in styles]
            plain = {layer: gram(maps) for layer, maps in self.partial(photos).items() if layer in self.layers}
            self.scales = [
                {
                    layer: gram_distance(plain[layer], known[layer].expand_as(plain[layer])).mean()
                    for layer in self.layers
                }
                for known in self.grams
            ]

    def parts(self, photo: Tensor, made: Tensor, style: Tensor) -> dict[str, Tensor]:
        """Content (B,), style (B,) and variation (B,) of made (B, 3, H, W) from photo, in the styles (B,) int64."""
        with torch.no_grad():
            before = self.partial(photo)[self.content]
        after = self.partial(made)
        length = before.square().flatten(1).mean(1).clamp_min(torch.finfo(before.dtype).tiny)
        content = (after[self.content] - before).square().flatten(1).mean(1) / length
        distance = torch.zeros_like(content)
        for layer in self.layers:
            wanted = torch.cat([known[layer] for known in self.grams])[style]
            scale = torch.stack([known[layer] for known in self.scales])[style]
            distance = distance + gram_distance(gram(after[layer]), wanted) / scale / len(self.layers)
        return {"content": content, "style": distance, "variation": total_variation()(made) / made[0].numel()}


def total(parts: dict[str, Tensor], weights: Weights) -> Tensor:
    """The weighted sum of the parts' means over the batch: ()."""
    return (
        weights.content * parts["content"].mean()
        + weights.style * parts["style"].mean()
        + weights.variation * parts["variation"].mean()
    )
