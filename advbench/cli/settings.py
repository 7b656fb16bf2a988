"""KEY=VALUE options, as several commands take them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from advbench.types import ConfigError, Json


def settings(pairs: Sequence[str], *, option: str = "--param") -> dict[str, Json]:
    """The pairs of an option as a mapping; a value that is JSON (a number, true, null, a list) is that, else text."""
    values: dict[str, Json] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option}: expected KEY=VALUE, got {text!r}")
        values[key] = parsed(value)
    return values


def parsed(text: str) -> Json:
    """What the text is as JSON, else the text itself."""
    try:
        value: Json = json.loads(text)
    except ValueError:
        return text
    return value
