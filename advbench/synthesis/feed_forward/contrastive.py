"""Styles told apart by contrast, not by fixed statistics. CAST, Zhang et al. 2022, arXiv:2205.09542.

A projector learns a code in which two crops of one painting are close and crops of others far; a decoder learns to make
pictures whose code is that of the style, which a critic takes for paintings, and from which a second decoder finds the
photograph again (the critics: `domains`). Both decoders begin as one of AdaIN (`adaptive`): from random weights they
find flat colours with roughly the right code first, and do not leave them for thousands of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.statistics import statistics, with_statistics
from advbench.synthesis.feed_forward.adaptive import Decoder, Encoder, adaptive_loss, relative_distance
from advbench.synthesis.feed_forward.domains import Critic, critic_loss, maker_loss
from advbench.synthesis.feed_forward.training import (
    BatchLoss,
    Course,
    History,
    Watch,
    chosen,
    crops,
    cut,
    require_room,
    train_network,
)

TRAININGS = 3  # of the code, of a decoder as AdaIN's, of the painter: each for the whole course
_TEMPERATURE = 0.07  # arXiv:2205.09542, section 4
_STATISTICS = 2.0  # weight of the styles' statistics while the decoders are AdaIN's
_SMALLER = 0.25  # learning rate of what follows, so that the critics do not undo that
_EXAMPLES = 64  # crops of paintings whose features give the code its units


class StyleCode(nn.Module):
    """Features of several layers to one code of length 1 per layer: means and maxima of the channels, projected.

    They are taken in units of their spread over examples (B, C_i, h_i, w_i) per layer: what all pictures share, most of
    a network's features, would put all codes in one place, and a training does not pull them apart again.
    """

    def __init__(self, examples: Sequence[Tensor], size: int = 128) -> None:
        super().__init__()
        pooled = [_pooled(one.detach()) for one in examples]
        self.heads = nn.ModuleList(
            nn.Sequential(_Units(each), nn.Linear(each.shape[1], size), nn.ReLU(), nn.Linear(size, size))
            for each in pooled
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """maps: (B, C_i, h_i, w_i) per layer; codes (B, L, size)."""
        codes = [functional.normalize(head(_pooled(one)), dim=1) for head, one in zip(self.heads, maps, strict=True)]
        return torch.stack(codes, 1)


class _Units(nn.Module):
    """(B, D) from the mean of `examples` (N, D), in units of their spread."""

    centre: Tensor
    spread: Tensor

    def __init__(self, examples: Tensor) -> None:
        super().__init__()
        least = 1e-3 * float(examples.abs().max())  # of a channel that is the same everywhere
        self.register_buffer("centre", examples.mean(0))
        self.register_buffer("spread", examples.std(0, correction=0).clamp_min(least or 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.centre) / self.spread


def _pooled(one: Tensor) -> Tensor:
    """(B, 2 C): mean and maximum of each channel of (B, C, h, w)."""
    return torch.cat([one.mean((2, 3)), one.amax((2, 3))], 1)


class Queue:
    """The last `size` codes, first in, first out: what a style is told apart from."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.codes: Tensor | None = None  # (Q, L, D)
        self.owners = torch.zeros(0, dtype=torch.int64)  # (Q,) the image that each code is of

    def push(self, codes: Tensor, owners: Tensor) -> None:
        """Add codes (B, L, D) of the images `owners` (B,); the oldest fall out."""
        known = [] if self.codes is None else [self.codes]
        self.codes = torch.cat([*known, codes.detach()])[-self.size :]
        self.owners = torch.cat([self.owners, owners])[-self.size :]

    def contrast(self, codes: Tensor, positives: Tensor, owners: Tensor) -> Tensor:
        """`info_nce` () of codes (B, L, D) against the queue's codes of other images and the other positives."""
        older = [] if self.codes is None else [self.codes]
        whose = torch.cat([self.owners, owners])
        return info_nce(
            codes, positives, torch.cat([*older, positives.detach()]), owners[:, None] != whose[None, :]
        ).mean()


def info_nce(codes: Tensor, positives: Tensor, negatives: Tensor, allowed: Tensor | None = None) -> Tensor:
    """-log of the positive's share of exp(similarity / 0.07), per sample (B,), mean over the layers.

    codes, positives (B, L, D) and negatives (Q, L, D) have length 1. allowed (B, Q) bool: negatives that count.
    """
    own = (codes * positives).sum(2) / _TEMPERATURE  # (B, L)
    others = torch.einsum("bld,qld->blq", codes, negatives) / _TEMPERATURE
    if allowed is not None:
        others = others.masked_fill(~allowed[:, None, :], -torch.inf)
    logits = torch.cat([own[:, :, None], others], 2)
    return (logits.logsumexp(2) - own).mean(1)


class Makers(nn.Module):
    """What learns together: the decoders to paintings and to photographs, and a critic for each of these domains."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.painter, self.restorer = (
            Decoder(encoder.channels, encoder.halvings, strength=encoder.strength) for _ in range(2)
        )
        self.of_paintings, self.of_photographs = Critic(), Critic()


@dataclass(frozen=True)
class CastWeights:
    """How much each part of the loss counts beside the content's 1.

    style: the contrastive loss; cycle: the ways back (4 in the published code); adversarial: the critics (0.1 there).
    """

    style: float = 0.2
    cycle: float = 4.0
    adversarial: float = 0.1


class Cast(NamedTuple):
    """What was trained, in eval mode, with the losses of the code, of the decoder as AdaIN's, and of the painter."""

    decoder: Decoder
    code: StyleCode
    code_history: History
    beginning: History
    history: History


def train_contrastive(
    model: nn.Module,
    photos: Tensor,
    styles: Tensor,
    course: Course | None = None,
    *,
    layer: str | None = None,
    queue: int = 512,
    weights: CastWeights | None = None,
    watch: Watch | None = None,
) -> Cast:
    """A projector of style codes, then a decoder for any style, both on features of `model`: `TRAININGS` courses.

    photos (N, 3, H, W): contents; styles (M, 3, h, w), also what the critics take for paintings. Raises ConfigError for
    images smaller than the crops.
    """
    course = course or Course()
    require_room(photos, course)
    require_room(styles, course)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.seed)
        encoder = Encoder(model, crops(photos, course.side, Draws(course.seed, torch.arange(1))), layer)
        shown = crops(styles, course.side, Draws(course.seed, torch.arange(_EXAMPLES)).branch("examples"))
        with frozen(model), torch.no_grad():
            examples = encoder(shown)
        code = StyleCode([examples[name] for name in encoder.judged]).to(photos.device)
        makers = Makers(encoder).to(photos.device)
    telling_apart = _code_loss(encoder, code, styles, Queue(queue))
    code_history = train_network(code, styles, telling_apart, course, critic=model, watch=watch)
    code.eval().requires_grad_(False)
    first_loss = adaptive_loss(encoder, makers.painter, styles, _STATISTICS)
    beginning = train_network(makers.painter, photos, first_loss, course, critic=model, watch=watch)
    makers.restorer.load_state_dict(makers.painter.state_dict())
    loss = _picture_loss(encoder, code, makers, styles=styles, queue=Queue(queue), weights=weights or CastWeights())
    finer = replace(course, learning_rate=_SMALLER * course.learning_rate)
    history = train_network(makers, photos, loss, finer, critic=model, watch=watch)
    return Cast(makers.painter.eval(), code.requires_grad_(True), code_history, beginning, history)


def codes_of(encoder: Encoder, code: StyleCode, x: Tensor) -> Tensor:
    """Style codes (B, L, D) of x (B, 3, H, W)."""
    maps = encoder(x)
    codes: Tensor = code([maps[name] for name in encoder.judged])
    return codes


def _code_loss(encoder: Encoder, code: StyleCode, styles: Tensor, queue: Queue) -> BatchLoss:
    """Two crops of one painting shall have one code, those of others another."""

    def loss(x: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        owners = chosen(len(styles), draws)
        own = codes_of(encoder, code, x)
        twin = codes_of(encoder, code, cut(styles, owners, x.shape[2], draws.branch("twin")))
        contrast = queue.contrast(own, twin, owners)
        queue.push(twin, owners)
        return contrast, {"contrast": contrast}

    return loss


def _picture_loss(
    encoder: Encoder, code: StyleCode, makers: Makers, *, styles: Tensor, queue: Queue, weights: CastWeights
) -> BatchLoss:
    """The painting keeps the content's features, has the style's code, passes for one, and leads back; so the reverse.

    The critics' own loss is part of it and reaches nothing but the critics.
    """

    def loss(x: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        size = (x.shape[2], x.shape[3])
        owners = chosen(len(styles), draws.branch("style"))
        style = cut(styles, owners, x.shape[2], draws.branch("style"))
        with torch.no_grad():
            content, strokes = encoder(x)[encoder.layer], encoder(style)[encoder.layer]
            wanted = with_statistics(content, statistics(strokes))
            style_code = codes_of(encoder, code, style)
        painting = makers.painter(wanted, size)
        restored = makers.restorer(with_statistics(strokes, statistics(content)), size)
        seen, behind = encoder(painting), encoder(restored)[encoder.layer]
        kept = relative_distance(seen[encoder.layer], wanted)
        contrast = queue.contrast(code([seen[name] for name in encoder.judged]), style_code, owners)
        queue.push(style_code, owners)
        back = makers.restorer(with_statistics(seen[encoder.layer], statistics(content)), size)
        again = makers.painter(with_statistics(behind, statistics(strokes)), size)
        cycle = 0.5 * ((back - x).abs().mean() + (again - style).abs().mean())
        passing = 0.5 * (maker_loss(makers.of_paintings, painting) + maker_loss(makers.of_photographs, restored))
        telling = critic_loss(makers.of_paintings, style, painting) + critic_loss(makers.of_photographs, x, restored)
        made = kept + weights.style * contrast + weights.cycle * cycle + weights.adversarial * passing
        parts = {"content": kept, "contrast": contrast, "cycle": cycle, "passing": passing, "critics": telling}
        return made + telling, parts

    return loss
