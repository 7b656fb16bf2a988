"""Optional packages: one place that names what to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from advbench.types import ConfigError


def import_extra(package: str, extra: str) -> ModuleType:
    """The module `package`. Raises ConfigError with the install command if it is not there."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is installed, but something that it needs is not
            raise
        raise ConfigError(f"{package} is not installed; install it with: pip install 'advbench[{extra}]'") from None
