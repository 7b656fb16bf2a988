"""How a model is trained, whatever the defense: plain data that checks itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from advbench.defenses.augment import AUGMENTS
from advbench.defenses.schedules import OPTIMIZERS, SCHEDULES
from advbench.types import ConfigError


@dataclass(frozen=True)
class Training:
    """The settings of `train`. Raises ConfigError on values that cannot be.

    lr: the largest learning rate of the schedule. momentum: of sgd. eps_ramp: share of the training in which the
    threat's radius grows linearly up to eps. held_out: training samples set aside to measure on, at most a tenth of
    all. precision: bfloat16 computes the loss under autocast; weights stay float32.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 2e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    weight_decay: float = 0.0
    momentum: float = 0.9
    augment: Literal["none", "crop_flip"] = "none"
    eps_ramp: float = 0.3
    held_out: int = 500
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 1), ("held_out", 0)):
            value = getattr(self, name)
            _check(name, value, type(value) is int and value >= low, f"an integer >= {low}")
        for name, (inside, allowed) in _RANGES.items():
            value = getattr(self, name)
            _check(name, value, _is_number(value) and inside(value), allowed)
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one training: one content key
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            _check(name, value, value in choices, " or ".join(choices))

    def rate(self, progress: float) -> float:
        """The learning rate after the share `progress` in [0, 1) of all batches."""
        return self.lr * SCHEDULES[self.schedule](progress)

    def ramp(self, progress: float) -> float:
        """The share of eps that the threat has reached after the share `progress` in (0, 1] of all batches."""
        return min(1.0, progress / self.eps_ramp) if self.eps_ramp > 0 else 1.0


_RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "lr": (lambda value: value > 0, "a number > 0"),
    "weight_decay": (lambda value: value >= 0, "a number >= 0"),
    "momentum": (lambda value: 0 <= value < 1, "a number in [0, 1)"),
    "eps_ramp": (lambda value: 0 <= value <= 1, "a number in [0, 1]"),
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": tuple(OPTIMIZERS),
    "schedule": tuple(SCHEDULES),
    "augment": tuple(AUGMENTS),
    "precision": ("float32", "bfloat16"),
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check(name: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        raise ConfigError(f"training.{name} must be {allowed}, got {value!r}")
