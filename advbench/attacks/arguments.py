"""What attacks check before they start."""

from __future__ import annotations

import math

from advbench.types import ConfigError


def at_least_one(name: str, value: int) -> int:
    """`value`. Raises ConfigError if it is below 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, got {value}")
    return value


def positive(name: str, value: float) -> float:
    """`value`. Raises ConfigError unless it is above 0 and finite."""
    if not 0 < value < math.inf:
        raise ConfigError(f"{name} must be positive and finite, got {value}")
    return value


def at_least_zero(name: str, value: float) -> float:
    """`value`. Raises ConfigError if it is below 0 or not finite."""
    if not 0 <= value < math.inf:
        raise ConfigError(f"{name} must not be negative or infinite, got {value}")
    return value
