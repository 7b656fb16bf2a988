"""What the Python functions that take a method by name check before work: its parameters, the network, the seed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from advbench.core.annotations import describe, fits, options
from advbench.names import nearest
from advbench.registry import Entry
from advbench.types import ConfigError

Info = TypeVar("Info")


def check_parameters(entry: Entry[Info], params: Mapping[str, object]) -> None:
    """Raise ConfigError for a parameter that the method does not have, one that it needs and does not get, and a value
    that its annotation does not allow. Which of the allowed values make sense is the method's own question.
    """
    for name, parameter in known_parameters(entry, params).items():
        if name in params:
            check_value(f"{entry.name}: {name}", params[name], parameter.annotation)
        elif parameter.default is parameter.empty:
            raise ConfigError(f"{entry.name} needs the parameter {name!r}: {described(parameter.annotation)}")


def known_parameters(entry: Entry[Info], params: Iterable[str]) -> Mapping[str, inspect.Parameter]:
    """All parameters of the method. Raises ConfigError if `params` names another one."""
    own = entry.parameters()
    for name in params:
        if name not in own:
            has = f"It has: {', '.join(own)}" if own else "It has none"
            raise ConfigError(f"{entry.name} has no parameter {name!r}; {nearest(name, list(own))}{has}")
    return own


def check_value(what: str, value: object, annotation: object) -> None:
    """Raise ConfigError unless the annotation allows `value`."""
    if not fits(value, annotation):
        near = nearest(value, [str(option) for option in options(annotation)]) if isinstance(value, str) else ""
        hint = f"; {near.strip()}" if near else ""
        raise ConfigError(f"{what} must be {described(annotation)}, got {shown(value)}{hint}")


def described(annotation: object) -> str:
    """`annotations.describe` in the words of Python rather than of YAML."""
    return describe(annotation).replace("null", "None").replace("true or false", "True or False")


def shown(value: object) -> str:
    """A value for a message: as Python writes it if that is short, else its type."""
    plain = value is None or isinstance(value, bool | int | float | str | list | tuple)
    return repr(value) if plain and len(repr(value)) <= 60 else type(value).__name__


def check_network(model: object, what: str = "model") -> None:
    """Raise ConfigError unless `model` is a network."""
    if not isinstance(model, nn.Module):
        hint = "; load_model makes one from a name" if isinstance(model, str) else ""
        raise ConfigError(f"{what} must be a torch.nn.Module, got {shown(model)}{hint}")


def check_seed(seed: object) -> None:
    """Raise ConfigError unless `seed` is a whole number, not negative."""
    if not fits(seed, int) or not seed >= 0:  # type: ignore[operator]
        raise ConfigError(f"seed must be a whole number >= 0, got {shown(seed)}")


def check_count(what: str, value: object) -> None:
    """Raise ConfigError unless `value` is a whole number of at least 1, or None."""
    if value is not None and (not fits(value, int) or not value >= 1):  # type: ignore[operator]
        raise ConfigError(f"{what} must be a whole number of at least 1, got {shown(value)}")


def sample_numbers(sample_ids: Tensor | Sequence[int] | None, count: int) -> Tensor:
    """(count,) int64: the ids as given, else 0 .. count - 1. Raises ConfigError unless they are `count` integers."""
    if sample_ids is None:
        return torch.arange(count)
    return whole_numbers(sample_ids, count, f"sample_ids must be {count} whole numbers")


def whole_numbers(values: Tensor | Sequence[int], count: int, must: str) -> Tensor:
    """The values (count,) int64. Raises ConfigError, which begins with `must`, unless they are `count` integers."""
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"{must}, got {shown(values)}") from None
    whole = not (found.is_floating_point() or found.is_complex() or found.dtype is torch.bool)
    if found.shape != (count,) or not (whole or not count):
        raise ConfigError(f"{must}, got {found.dtype} of shape {tuple(found.shape)}")
    return found.long()
