"""KEY=VALUE options, as several commands take them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, get_args

from advbench.types import ConfigError, Json


class Parametrised(Protocol):
    """A registered method."""

    def parameters(self) -> Mapping[str, inspect.Parameter]: ...


def settings(pairs: Sequence[str], *, option: str = "--param", entries: Iterable[Parametrised] = ()) -> dict[str, Json]:
    """The pairs of an option as a mapping; a value that is JSON (a number, true, null, a list) is that, else text.

    entries: what takes the parameters. One that takes words or files and no numbers gets its value as written, so that
    a module may be called 1.10.
    """
    words = {name for entry in entries for name, own in entry.parameters().items() if takes_words(own.annotation)}
    values: dict[str, Json] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option}: expected KEY=VALUE, got {text!r}")
        values[key] = value if key.rpartition(".")[2] in words and value != "null" else parsed(value)
    return values


def parsed(text: str) -> Json:
    """What the text is as JSON, else the text itself."""
    try:
        value: Json = json.loads(text)
    except ValueError:
        return text
    return value


def takes_words(annotation: object) -> bool:
    """Is a parameter with this annotation a name or a file, and never a number, a claim or a list?"""
    members = set(get_args(annotation) or (annotation,)) - {type(None)}
    return bool(members) and members <= {str, Path}
