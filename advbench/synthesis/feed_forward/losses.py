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

SHIFTS = 4  # pixels: what the layers that see strokes step over
_CONTENT_PART = 4  # content is read where a map's side is that part of the crop's


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts.

    style: of Gram distances whose sum is 1 for a photograph as it is. Chosen by eye between 10, whose pictures had a
    content distance of 0.70 after 300 steps, and 3, with 0.48 after 700. variation: of the mean squared step between
    neighbours, about 0.01 in paintings.
    """

    content: float = 1.0
    style: float = 5.0
    variation: float = 1.0


class Judge:
    """A network's view of content and of several styles; distances are relative, so that any network can judge.

    The style distance of a layer is divided by that between the styles' and the photographs' Gram matrices: it is 1
    for a photograph left as it is, whatever the layer's width and strength. The content distance is divided by the mean
    squared length of the photographs' features: it is 1 for a picture without any.
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
        """styles: images (1, 3, H, W); photos (N, 3, h, w): crops like those to come.

        content, layers: else found by looking: relu3_3 as in Johnson et al., and relu1_1 ... relu5_1 (by this network's
        names).
        """
        found = content or content_layer(model, photos, part=_CONTENT_PART, place=2)
        self.content = named_layers(model, [found], photos)[0]
        self.layers = named_layers(model, list(layers) or texture_layers(model, photos), photos)
        with frozen(model), torch.no_grad():
            self.plain = Partial(model, [self.content], photos[:1])  # a photograph is asked for nothing else
            self.partial = Partial(model, [self.content, *self.layers], photos[:1])
            grams = [{layer: gram(self.partial(style)[layer]) for layer in self.layers} for style in styles]
            seen = self.partial(photos)
            known = {layer: gram(seen[layer]) for layer in self.layers}  # each (N, C, C)
        self.length = seen[self.content].square().mean()
        self.grams = {layer: torch.cat([one[layer] for one in grams]) for layer in self.layers}  # each (S, C, C)
        self.scales = {
            layer: torch.stack([gram_distance(known[layer], one.expand_as(known[layer])).mean() for one in wanted])
            for layer, wanted in self.grams.items()
        }  # each (S,)

    def parts(
        self, photo: Tensor, made: Tensor, style: Tensor, shift: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        """Content (B,), style (B,) and variation (B,) of made (B, 3, H, W) from photo, in the styles (B,) int64.

        shift: the judge sees all but `SHIFTS` rows and columns, from these on. With another shift at each step no grid
        can hide between the places that strided layers look at.
        """
        height, width = made.shape[2:]
        top, left = shift or (0, 0)
        less = 0 if shift is None else SHIFTS
        rows, columns = slice(top, height - less + top), slice(left, width - less + left)
        with torch.no_grad():
            before = self.plain(photo[:, :, rows, columns])[self.content]
        after = self.partial(made[:, :, rows, columns])
        content = (after[self.content] - before).square().flatten(1).mean(1) / self.length
        distance = torch.zeros_like(content)
        for layer in self.layers:
            missing = gram_distance(gram(after[layer]), self.grams[layer][style])
            distance = distance + missing / self.scales[layer][style] / len(self.layers)
        return {"content": content, "style": distance, "variation": total_variation()(made) / made[0].numel()}


def total(parts: dict[str, Tensor], weights: Weights) -> Tensor:
    """The weighted sum of the parts' means over the batch: ()."""
    return (
        weights.content * parts["content"].mean()
        + weights.style * parts["style"].mean()
        + weights.variation * parts["variation"].mean()
    )
