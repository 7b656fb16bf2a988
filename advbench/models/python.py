"""A network made by a function of the user's own, which runs with the user's rights: only with --allow-code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from advbench.models.seeding import seeded
from advbench.registry import model
from advbench.types import ConfigError


@model()
def python(
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    allow_code: bool = False,
    *,
    seed: int = 0,
    name: str,
) -> nn.Module:
    """What `function()` of `module` returns, for name "module:function"; the current folder is searched too.

    allow_code comes from load_model alone: it is no parameter that a matrix could set.
    The module must map images in [0, 1] to logits. Raises ConfigError without `allow_code` (before anything is
    imported), if there is no such function, or if it returns no nn.Module. Its own errors come through.
    """
    if not allow_code:
        raise ConfigError(f"python:{name} runs code; if you trust it, allow that with --allow-code (allow_code=True)")
    factory = _find(name)
    with seeded(seed):
        network = factory()
    if not isinstance(network, nn.Module):
        raise ConfigError(f"python:{name} must return an nn.Module, it returned {type(network).__name__}")
    return network


def _find(name: str) -> Callable[[], object]:
    module, _, function = name.partition(":")
    if not module or not function:
        raise ConfigError(f"python:{name} must be written python:module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # for good: the module may import its neighbours later
    try:
        found: object = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"python:{name} cannot be found: {error}") from None
    if not callable(found):
        raise ConfigError(f"python:{name} is no function but {type(found).__name__}")
    return found
