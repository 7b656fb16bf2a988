"""Where an attack should lead: from a goal's name to a class per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from advbench.core.call_checks import whole_numbers
from advbench.core.draws import Draws
from advbench.types import ConfigError

GOALS = ("untargeted", "random", "least_likely", "next")


def check_goal(goal: str, classes: int | None = None) -> None:
    """Raise ConfigError unless goal is one of GOALS or a class index below `classes`."""
    if goal in GOALS:
        return
    if not (goal.isdigit() and (classes is None or int(goal) < classes)):
        allowed = ", ".join(GOALS) + (" or a class index" if classes is None else f" or a class in 0 .. {classes - 1}")
        raise ConfigError(f"no goal {goal!r}; allowed: {allowed}")


def targets(goal: str, logits: Tensor, y: Tensor, draws: Draws) -> Tensor:
    """The class (B,) to reach; -1 where the goal names no other class than y (and everywhere for "untargeted").

    logits (B, K) are the clean ones. random: uniform over the other classes, by sample id. next: (y + 1) mod K.
    """
    classes = logits.shape[1]
    check_goal(goal, classes)
    if goal == "untargeted" or classes < 2:
        return torch.full_like(y, -1)
    if goal == "random":
        return (y + 1 + draws.integers(classes - 1, (), "target")) % classes
    if goal == "least_likely":
        return logits.scatter(1, y[:, None], torch.inf).argmin(1)
    if goal == "next":
        return (y + 1) % classes
    return torch.where(y == int(goal), -1, torch.full_like(y, int(goal)))


def own_targets(given: Tensor | Sequence[int], logits: Tensor, y: Tensor) -> Tensor:
    """`targets` where each sample is given a class (B,) of its own; -1 asks for none, as does the label itself.

    Raises ConfigError for anything but B whole numbers from -1 to K - 1.
    """
    classes = whole_numbers(given, len(y), f"goal must be a name, a class or {len(y)} classes").to(y.device)
    low, high = (int(classes.min()), int(classes.max())) if len(classes) else (-1, -1)
    if low < -1 or high >= logits.shape[1]:
        raise ConfigError(f"goal: classes must lie in 0 .. {logits.shape[1] - 1} (or be -1: none), got {low} .. {high}")
    return torch.where(classes == y, -1, classes)
