"""The one loop that trains picture-making networks: random crops of photographs, a loss, Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.types import ConfigError

# (crops (B, C, side, side), the step's draws) -> (loss (), named parts of it)
BatchLoss = Callable[[Tensor, Draws], tuple[Tensor, dict[str, Tensor]]]
Row = dict[str, float]  # the loss and its parts
History = list[Row]  # a row per step
Watch = Callable[[int, Row], None]


@dataclass(frozen=True)
class Course:
    """How long and on what: `steps` batches of square crops with this side, by Adam.

    learning_rate: of the first step; it falls to 0 by half a cosine, so that the last steps do not scatter.
    """

    steps: int = 2000
    batch: int = 4
    side: int = 128
    learning_rate: float = 2e-3
    seed: int = 0


def train_network(
    network: nn.Module,
    photos: Tensor,
    loss: BatchLoss,
    course: Course,
    *,
    critic: nn.Module | None = None,
    watch: Watch | None = None,
) -> History:
    """Train `network` in place on crops of photos (N, C, H, W) in [0, 1]; the loss of every step.

    critic: the network that judges, frozen meanwhile. Batches follow from seed and step alone. Modes come back. Raises
    ConfigError for photographs smaller than the crops and FloatingPointError when the loss is no longer finite.
    """
    require_room(photos, course)
    optimizer = torch.optim.Adam(network.parameters(), course.learning_rate)
    history: History = []
    with _in_mode(network, training=True), _judging(critic):
        for step in range(course.steps):
            draws = Draws(course.seed, course.batch * step + torch.arange(course.batch))
            for group in optimizer.param_groups:
                group["lr"] = course.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / course.steps))
            value, parts = loss(crops(photos, course.side, draws), draws)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            row = _row(value, parts)
            if not math.isfinite(row["loss"]):
                raise FloatingPointError(f"the loss became {row['loss']} at step {step}; lower the learning rate")
            history.append(row)
            if watch is not None:
                watch(step, row)
    return history


def measured(
    network: nn.Module,
    photos: Tensor,
    loss: BatchLoss,
    course: Course,
    *,
    critic: nn.Module | None = None,
) -> Row:
    """The loss and its parts on photos (N, C, H, W), a crop of each, with the network as it will be used (eval mode).

    The crops follow from the course's seed alone: two networks, or one before and after its training, see the same.
    """
    rows: list[Row] = []
    with _in_mode(network, training=False), _judging(critic), torch.no_grad():
        for ids in torch.split(torch.arange(len(photos)), course.batch):
            draws = Draws(course.seed, ids).branch("measured")
            value, parts = loss(cut(photos, ids, course.side, draws), draws)
            rows += [_row(value, parts)] * len(ids)
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _row(value: Tensor, parts: dict[str, Tensor]) -> Row:
    return {"loss": float(value.detach()), **{name: float(part.detach()) for name, part in parts.items()}}


def require_room(photos: Tensor, course: Course) -> None:
    """Raises ConfigError if crops of the course do not fit into photos (N, C, H, W)."""
    if not len(photos) or min(photos.shape[2:]) < course.side:
        raise ConfigError(
            f"photographs of at least {course.side} x {course.side} are needed, got {tuple(photos.shape)}"
        )


def crops(photos: Tensor, side: int, draws: Draws) -> Tensor:
    """(B, C, side, side): for each draw a photograph of photos (N, C, H, W), cut at a random place, half mirrored."""
    return cut(photos, chosen(len(photos), draws), side, draws)


def chosen(count: int, draws: Draws) -> Tensor:
    """Which of `count` photographs each draw means: (B,) int64."""
    return draws.integers(count, (), "photograph")


def cut(photos: Tensor, which: Tensor, side: int, draws: Draws) -> Tensor:
    """(B, C, side, side): the photographs at `which` (B,), cut at random places, half of them mirrored."""
    top = draws.integers(photos.shape[2] - side + 1, (), "top")
    left = draws.integers(photos.shape[3] - side + 1, (), "left")
    mirrored = draws.integers(2, (), "mirror")
    places = zip(which.tolist(), top.tolist(), left.tolist(), strict=True)
    flat = torch.stack([photos[n, :, row : row + side, column : column + side] for n, row, column in places])
    return torch.where(mirrored[:, None, None, None].to(flat.device) == 1, flat.flip(3), flat)


@contextmanager
def _in_mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, before in modes:
            module.training = before
        network.zero_grad(set_to_none=True)


@contextmanager
def _judging(critic: nn.Module | None) -> Iterator[None]:
    if critic is None:
        yield
        return
    with frozen(critic):
        yield
