"""A network that paints photographs in one or several styles, in one pass, and blends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.synthesis.feed_forward.losses import SHIFTS, Judge, Weights, total
from advbench.synthesis.feed_forward.networks import Norm, TransformNet
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
from advbench.types import ConfigError

# Of photographs painted together on a processor; the maps of more would be handed back to the system at each layer.
_PIXELS = 1 << 17
_LOOKED_AT = 16  # crops from which the loss takes its scale


class Trained(NamedTuple):
    """The network, in eval mode, the loss of every step, and of each style the loss on photographs kept apart.

    before, after: the training; a row per style, none without such photographs.
    """

    network: TransformNet
    history: History
    before: tuple[Row, ...] = ()
    after: tuple[Row, ...] = ()


def train_style(
    model: nn.Module,
    styles: Sequence[Tensor],
    photos: Tensor,
    course: Course | None = None,
    *,
    weights: Weights | None = None,
    norm: Norm = "instance",
    widths: Sequence[int] = (16, 32, 64),
    blocks: int = 3,
    content: str | None = None,
    layers: Sequence[str] = (),
    held_out: Tensor | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train a `TransformNet` to paint photos (N, 3, H, W) in the styles, images (1, 3, h, w); `model` judges.

    Each photograph of a batch gets a style of its own, by chance. content, layers: of the model, found by looking at it
    if not named. held_out (M, 3, H, W): photographs on which the loss is measured, before and after. Raises
    ConfigError if there is no style, or photographs are smaller than the crops. Johnson et al. 2016, arXiv:1603.08155;
    several styles: Dumoulin et al. 2017, arXiv:1610.07629.
    """
    course, weights = course or Course(), weights or Weights()
    if not styles:
        raise ConfigError("train_style needs at least one style image, got none")
    for images in (photos,) if held_out is None else (photos, held_out):
        require_room(images, course)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.seed)
        network = TransformNet(styles=len(styles), widths=widths, blocks=blocks, norm=norm).to(photos.device)
    seen = crops(photos, course.side, Draws(course.seed, -1 - torch.arange(_LOOKED_AT)))
    lesson = _Lesson(network, Judge(model, styles, seen, content=content, layers=layers), weights)

    def of_each_style() -> tuple[Row, ...]:
        if held_out is None:
            return ()
        numbers = range(len(styles))
        return tuple(measured(network, held_out, lesson.only(number), course, critic=model) for number in numbers)

    before = of_each_style()
    history = train_network(network, photos, lesson.any_style, course, critic=model, watch=watch)
    return Trained(network.eval(), history, before, of_each_style())


@dataclass(frozen=True)
class _Lesson:
    """The losses of a network: with a style by chance for each photograph, or always with the same."""

    network: TransformNet
    judge: Judge
    weights: Weights

    def any_style(self, x: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        top, left = draws.integers(SHIFTS, (2,), "shift")[0].tolist()
        return self._judged(x, draws.integers(self.network.styles, (), "style").to(x.device), (top, left))

    def only(self, number: int) -> BatchLoss:
        return lambda x, draws: self._judged(x, torch.full((len(x),), number, device=x.device), None)

    def _judged(self, x: Tensor, style: Tensor, shift: tuple[int, int] | None) -> tuple[Tensor, dict[str, Tensor]]:
        made = self.network(x, functional.one_hot(style, self.network.styles).to(x))
        parts = self.judge.parts(x, made, style, shift)
        return total(parts, self.weights), {name: part.mean() for name, part in parts.items()}


def paint(network: TransformNet, x: Tensor, mix: Sequence[float] = ()) -> Tensor:
    """x (B, 3, H, W) in [0, 1], painted; mix: how much of each style, normalised to sum to 1 (empty: the first).

    Raises ConfigError if there are more or fewer numbers than styles, or they sum to 0.
    """
    shares = torch.tensor(list(mix) or [1.0] + [0.0] * (network.styles - 1), dtype=x.dtype, device=x.device)
    if len(shares) != network.styles or float(shares.sum()) <= 0 or float(shares.min()) < 0:
        raise ConfigError(f"mix must be {network.styles} shares >= 0, not all 0, got {list(mix)}")
    together = max(1, _PIXELS // max(x.shape[2:].numel(), 1)) if x.device.type == "cpu" else max(len(x), 1)
    with torch.no_grad():
        return torch.cat(
            [network(part, (shares / shares.sum()).expand(len(part), -1)) for part in torch.split(x, together)]
        )
