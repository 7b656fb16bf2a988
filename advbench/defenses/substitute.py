"""A stand-in for a model that only answers labels. Papernot et al. 2017, arXiv:1602.02697."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from advbench.core.draws import Draws
from advbench.core.gradients import class_gradient, frozen
from advbench.defenses.curve import Images
from advbench.defenses.train import Training, train
from advbench.types import ConfigError, content_key

_AGREEMENT_SAMPLES = 1000
_BATCH = 256


class Substitute(NamedTuple):
    """The trained student, the labels it cost, and its agreement with the victim: the share of equal answers in
    [0, 1] on up to 1,000 samples that it was not trained on (None if there are none). Those answers are not counted
    as queries: an attacker does not need them.
    """

    model: nn.Module
    queries: int
    agreement: float | None


def substitute(
    victim: nn.Module,
    student: nn.Module,
    images: Images,
    labels: Tensor,
    *,
    seed: int,
    seeds: int = 100,
    rounds: int = 6,
    step_size: float = 0.1,
    flip_every: int = 3,
    reservoir: int = 0,
    epochs: int = 10,
    batch_size: int = 64,
    lr: float = 2e-3,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Substitute:
    """Train `student` in place to answer like `victim`, asking it for labels only, starting from `seeds` samples.

    The seeds are drawn from images(ids), ids in 0 .. N - 1, as evenly over the classes as `labels` (N,) allow; the
    labels serve for that alone. In each of `rounds` rounds the student is trained for `epochs` on what was answered so
    far, then every input x gives a new one, x + step_size * sign(gradient of the student's logit of the victim's label
    at x) in [0, 1], and the victim is asked about it: seeds * 2**rounds queries in all. A last training follows.
    flip_every: the sign of the step changes after so many rounds (0: never). reservoir: at most so many new inputs a
    round, drawn at random (0: one for every input); both from arXiv:1605.07277.
    Raises ConfigError on values that cannot be, and if there are fewer than `seeds` samples.
    """
    _check_counts(seeds=seeds, rounds=rounds, flip_every=flip_every, reservoir=reservoir)
    settings = _settings(epochs, batch_size, lr)
    device = torch.device(device)
    ask = _Labels(victim.to(device))
    ids = _even(labels, seeds, seed)
    x = images(ids)  # (n, C, H, W), grows
    y = ask(x.to(device)).cpu()  # (n,)
    for i in range(rounds + 1):
        curve = train(
            student, x.__getitem__, y, training=settings, seed=_of_round(seed, i), device=device, progress=False
        )
        if progress:
            tqdm.write(f"substitute: {ask.queries} queries, loss {curve.epochs[-1].loss:.4f}", file=sys.stderr)
        if i == rounds:
            break
        chosen = _shuffled(len(x), _of_round(seed, i))[: reservoir or len(x)]
        sign = -1.0 if flip_every and (i // flip_every) % 2 else 1.0
        new = _stepped(student, x[chosen].to(device), y[chosen].to(device), sign * step_size)
        x, y = torch.cat([x, new.cpu()]), torch.cat([y, ask(new).cpu()])
    unseen = _shuffled(len(labels), seed)
    unseen = unseen[~torch.isin(unseen, ids)][:_AGREEMENT_SAMPLES]
    return Substitute(student, ask.queries, _agreement(ask.victim, student, images, unseen, device))


def check_settings(settings: Mapping[str, object]) -> None:
    """Raise ConfigError if `substitute` would refuse these of its parameters."""
    values = cast("Mapping[str, Any]", settings)
    _check_counts(**{name: values[name] for name in ("seeds", "rounds", "flip_every", "reservoir")})
    _settings(values["epochs"], values["batch_size"], values["lr"])


@dataclass
class _Labels:
    """All that the student's training sees of the victim: labels (B,), each counted."""

    victim: nn.Module
    queries: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.queries += len(x)
        return _answers(self.victim, x)


def _answers(model: nn.Module, x: Tensor) -> Tensor:
    """The label (B,) int64 that the model gives each x (B, C, H, W), in eval mode."""
    with frozen(model), torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in torch.split(x, _BATCH)])


def _stepped(student: nn.Module, x: Tensor, y: Tensor, size: float) -> Tensor:
    """x + size * sign of the gradient of the student's logit y (B,) at x (B, C, H, W), in [0, 1]."""
    with frozen(student):
        parts = [
            (part + size * class_gradient(student, part, labels).sign()).clamp(0.0, 1.0)
            for part, labels in zip(torch.split(x, _BATCH), torch.split(y, _BATCH), strict=True)
        ]
    return torch.cat(parts)


def _agreement(
    victim: nn.Module, student: nn.Module, images: Images, ids: Tensor, device: torch.device
) -> float | None:
    if not len(ids):
        return None
    same = 0
    for batch in torch.split(ids, _BATCH):
        x = images(batch).to(device)
        same += int((_answers(victim, x) == _answers(student, x)).sum())
    return same / len(ids)


def _even(labels: Tensor, count: int, seed: int) -> Tensor:
    """`count` positions, drawn one class after the other until there are enough: no class leads another by more than 1
    unless it has no more samples.
    """
    if len(labels) < count:
        raise ConfigError(f"substitute.seeds = {count}, but there are only {len(labels)} samples to draw them from")
    order = _shuffled(len(labels), seed)
    shuffled = labels[order]
    turn = torch.zeros_like(shuffled)  # how many of the same class stand before
    for label in torch.unique(shuffled):
        mine = shuffled == label
        turn[mine] = torch.arange(int(mine.sum()))
    return order[turn.argsort(stable=True)][:count]


def _shuffled(count: int, seed: int) -> Tensor:
    ids = torch.arange(count)
    return ids[Draws(seed, ids).words(1, "substitute")[:, 0].argsort(stable=True)]


def _of_round(seed: int, i: int) -> int:
    return int(content_key(["substitute", seed, i])[:12], 16)


def _settings(epochs: int, batch_size: int, lr: float) -> Training:
    return Training(epochs=epochs, batch_size=batch_size, lr=lr, held_out=0)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        low = 1 if name == "seeds" else 0
        if value < low:
            raise ConfigError(f"substitute.{name} must be at least {low}, got {value}")
