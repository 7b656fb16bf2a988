"""Names under the wrong key of a matrix: where they belong."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TypeVar

from advbench.registry import ATTACKS, ATTRIBUTIONS, CONTROLS, DATASETS, DEFENSES, MODELS, SYNTHESES, Entry, Registry
from advbench.types import ConfigError

Info = TypeVar("Info")


def entry_of(registry: Registry[Info], name: str) -> Entry[Info]:
    """The entry of that name. Raises ConfigError, which says where the name belongs if it is another kind of thing."""
    if name not in registry:
        check_kind(registry.kind, name)
    return registry[name]


def check_kind(kind: str, name: str) -> None:
    """Raise ConfigError if `name` is registered, but as another kind than the one that is asked for."""
    places: Mapping[str, tuple[Container[str], str]] = {
        "attack": (ATTACKS, "attacks:"),
        "control": (CONTROLS, "controls:"),
        "defense": (DEFENSES, "defenses:"),
        "attribution": (ATTRIBUTIONS, "explain:"),
        "model": (MODELS, "models:"),
        "dataset": (DATASETS, "data:"),
        "synthesis": (SYNTHESES, "advbench picture"),
    }
    for other, (registry, place) in places.items():
        if other != kind and name in registry:
            article = "an" if other[0] in "aeiou" else "a"
            raise ConfigError(f"{name!r} is {article} {other} and belongs under `{place}`")
