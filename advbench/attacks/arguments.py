"""What attacks check before they start."""

from __future__ import annotations

from advbench.types import ConfigError


def at_least_one(name: str, value: int) -> int:
    """`value`. Raises ConfigError if it is below 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, got {value}")
    return value


def positive(name: str, value: float) -> float:
    """`value`. Raises ConfigError unless it is above 0."""
    if not value > 0:
        raise ConfigError(f"{name} must be positive, got {value}")
    return value


def at_least_zero(name: str, value: float) -> float:
    """`value`. Raises ConfigError if it is below 0."""
    if not value >= 0:
        raise ConfigError(f"{name} must not be negative, got {value}")
    return value
