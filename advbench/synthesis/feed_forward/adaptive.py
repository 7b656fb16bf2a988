"""Any style in one pass: the content's features with the style's statistics, decoded. AdaIN.

Huang and Belongie 2017, arXiv:1703.06868. The encoder is a network as it is, up to one layer; the decoder is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.activations import Partial, module_named
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.layer_order import full_name
from advbench.core.statistics import Statistics, statistics, with_statistics
from advbench.synthesis.feed_forward.training import (
    BatchLoss,
    Course,
    History,
    Row,
    Watch,
    crops,
    measured,
    require_room,
    train_network,
)
from advbench.synthesis.stages import content_layer, named_layers, texture_layers
from advbench.types import ConfigError

_PROBE = 128  # side of the image by which layers are chosen
_PART = 4  # of the image's side, where features are decoded by default


class Decoder(nn.Module):
    """Features (B, C, h, w) to images (B, 3, H, W) in [0, 1]: `halvings` times twice as large and half as wide.

    strength: of the features, by which they are divided: those of some networks are a hundred times larger than others.
    """

    strength: Tensor

    def __init__(self, channels: int, halvings: int, narrowest: int = 16, strength: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("strength", torch.tensor(strength))
        self.inputs = channels
        widths = [channels] + [max(narrowest, channels >> (i + 1)) for i in range(halvings)]
        self.convs = nn.ModuleList(_conv(before, after) for before, after in pairwise(widths))
        self.smooth = nn.ModuleList(_conv(width, width) for width in widths[1:])
        self.last = _conv(widths[-1], 3)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        y = features / self.strength
        for conv, smooth in zip(self.convs, self.smooth, strict=True):
            y = functional.interpolate(functional.relu(conv(y)), scale_factor=2.0, mode="bilinear")
            y = functional.relu(smooth(y))
        # Layers with odd sizes do not halve exactly: the rest is stretched.
        y = y if y.shape[2:] == size else functional.interpolate(y, size, mode="bilinear")
        picture: Tensor = self.last(y)
        return picture.sigmoid()


class Encoder:
    """A network's layers up to `layer`: features for AdaIN, and finer layers whose statistics judge the style."""

    def __init__(self, model: nn.Module, images: Tensor, layer: str | None = None) -> None:
        """images (B, 3, H, W): like those to come. layer: by default the first at a quarter of the size.

        That is relu3_1 of a VGG. The paper decodes relu4_1; to draw sharply from an eighth of the size takes a decoder
        far more steps than a small machine has time for.
        """
        # Of a size of its own: a decoder must find the same layer again for images of every size.
        probe = functional.interpolate(images[:1], (_PROBE, _PROBE), mode="bilinear")
        found = texture_layers(model, probe)
        given = named_layers(model, [layer], probe)[0] if layer else content_layer(model, probe, part=_PART, place=0)
        self.model, self.layer = model, full_name(model, module_named(model, given))
        with frozen(model), torch.no_grad():
            maps = Partial(model, [*found, self.layer], probe)(probe)
            side = maps[self.layer].shape[2]
            finer = [name for name in found if name != self.layer and maps[name].shape[2] >= side]
            self.judged = (*finer, self.layer)
            self.partial = Partial(model, self.judged, probe)
        self.strength = float(maps[self.layer].square().mean().sqrt())
        self.widths = {name: maps[name].shape[1] for name in self.judged}
        self.channels = self.widths[self.layer]
        self.halvings = round(math.log2(probe.shape[2] / maps[self.layer].shape[2]))

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        return self.partial(x)


class Adaptive(NamedTuple):
    """The decoder, in eval mode, the loss of every step, and on images kept apart: before and after the training."""

    decoder: Decoder
    history: History
    before: Row | None = None
    after: Row | None = None


def train_adaptive(
    model: nn.Module,
    photos: Tensor,
    styles: Tensor,
    course: Course | None = None,
    *,
    layer: str | None = None,
    style_weight: float = 2.0,
    held_out: tuple[Tensor, Tensor] | None = None,
    watch: Watch | None = None,
) -> Adaptive:
    """A decoder for features of `model` with exchanged statistics.

    photos (N, 3, H, W): contents; styles (M, 3, h, w): what statistics are taken from, the more the better. held_out:
    photographs and styles on which the loss is measured. The loss is equation 11 of the paper, its distances divided by
    the squared length of what they are measured against; a style_weight of 2 makes both parts about equal at the end.
    Raises ConfigError for images smaller than the crops.
    """
    course = course or Course()
    for images in (photos, styles, *(held_out or ())):
        require_room(images, course)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.seed)
        encoder = Encoder(model, crops(photos, course.side, Draws(course.seed, torch.arange(1))), layer)
        decoder = Decoder(encoder.channels, encoder.halvings, strength=encoder.strength).to(photos.device)

    def unseen() -> Row | None:
        if held_out is None:
            return None
        lesson = adaptive_loss(encoder, decoder, held_out[1], style_weight)
        return measured(decoder, held_out[0], lesson, course, critic=model)

    before = unseen()
    lesson = adaptive_loss(encoder, decoder, styles, style_weight)
    history = train_network(decoder, photos, lesson, course, critic=model, watch=watch)
    return Adaptive(decoder.eval(), history, before, unseen())


def adaptive_loss(encoder: Encoder, decoder: Decoder, styles: Tensor, style_weight: float) -> BatchLoss:
    """What is decoded has the wanted features, and at every layer the statistics of its style."""

    def loss(x: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        size = (x.shape[2], x.shape[3])
        with torch.no_grad():
            style = encoder(crops(styles, size[0], draws.branch("style")))
            wanted = with_statistics(encoder(x)[encoder.layer], statistics(style[encoder.layer]))
        seen = encoder(decoder(wanted, size))
        content = relative_distance(seen[encoder.layer], wanted)
        pairs = [(statistics(seen[name]), statistics(style[name])) for name in encoder.judged]
        each = [relative_distance(one, other) for pair in pairs for one, other in zip(*pair, strict=True)]
        distance = torch.stack(each).mean()
        return content + style_weight * distance, {"content": content, "style": distance}

    return loss


def adapt(
    encoder: Encoder,
    decoder: Decoder,
    content: Tensor,
    styles: Sequence[Tensor],
    *,
    alpha: float = 1.0,
    mix: Sequence[float] = (),
) -> Tensor:
    """content (B, 3, H, W) in the styles, images (1, 3, h, w), mixed by their features: (B, 3, H, W) in [0, 1].

    alpha: 0 decodes the content's own features, 1 those with the styles' statistics. mix: shares of the styles, equal
    if empty. Raises ConfigError if they do not fit.
    """
    shares = list(mix) or [1.0] * len(styles)
    if not styles or len(shares) != len(styles) or min(shares) < 0 or sum(shares) <= 0:
        raise ConfigError(f"mix must be {len(styles)} shares >= 0, not all 0, got {shares}")
    if not 0.0 <= alpha <= 1.0:
        raise ConfigError(f"alpha must be between 0 and 1, got {alpha}")
    with torch.no_grad(), frozen(encoder.model):
        own = encoder(content)[encoder.layer]
        exchanged = torch.zeros_like(own)
        for share, style in zip(shares, styles, strict=True):
            known = statistics(encoder(style)[encoder.layer])
            exchanged = exchanged + share / sum(shares) * with_statistics(own, Statistics(*known))
        height, width = content.shape[2:]
        picture: Tensor = decoder(alpha * exchanged + (1.0 - alpha) * own, (height, width))
    return picture


def decoder_of(state: Mapping[str, Tensor]) -> Decoder:
    """The decoder that these weights belong to, with them. Raises ConfigError for weights of something else."""
    if "convs.0.weight" not in state or "last.weight" not in state:
        raise ConfigError("these are not the weights of an AdaIN decoder: they have no 'convs.0.weight'")
    halvings = len([name for name in state if name.startswith("convs.") and name.endswith(".weight")])
    decoder = Decoder(state["convs.0.weight"].shape[1], halvings, narrowest=state["last.weight"].shape[1])
    try:
        decoder.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ConfigError(f"these weights do not fit a decoder: {error}") from None
    return decoder.eval()


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


def relative_distance(one: Tensor, other: Tensor) -> Tensor:
    """Squared distance over squared length, over the whole batch."""
    return (one - other).square().mean() / other.square().mean().clamp_min(torch.finfo(other.dtype).tiny)
