"""KEY=VALUE options, as several commands take them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from advbench.types import ConfigError, Json


def settings(pairs: Sequence[str]) -> dict[str, Json]:
    """The pairs as a mapping; a value that is JSON (a number, true, null, a list) is that, anything else is text."""
    values: dict[str, Json] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--param: expected KEY=VALUE, got {text!r}")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values
