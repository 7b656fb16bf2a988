"""Shown names: as short as a matrix allows, and different for different things."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from advbench.types import Json, content_key

SLUG_LENGTH = 80


def distinguish(names: Sequence[str], facts: Sequence[Mapping[str, Json]]) -> list[str]:
    """A label for each entry: its name, and those of its facts in which entries of the same name differ.

    One pgd is "pgd"; two are "pgd steps=10" and "pgd steps=100". Equal entries get equal labels.
    """
    labels = []
    for name, own in zip(names, facts, strict=True):
        same = [other for other_name, other in zip(names, facts, strict=True) if other_name == name]
        varying = [key for key in own if any(other.get(key) != own[key] for other in same)]
        labels.append(" ".join([name, *(f"{key}={_shown(own[key])}" for key in varying)]))
    keys = [content_key({"name": name, "facts": own}) for name, own in zip(names, facts, strict=True)]
    used = Counter(label for label, _ in set(zip(labels, keys, strict=True)))
    # What only the inside of a nested value tells apart is told apart by its hash.
    return [label if used[label] == 1 else f"{label} {key[:4]}" for label, key in zip(labels, keys, strict=True)]


def slug_of(labels: Mapping[str, str], *, nearest: bool) -> str:
    """A safe file name of at most 80 ASCII characters from the shown names of a cell. nearest: it has no radius."""
    goal = () if labels["goal"] == "untargeted" else (labels["goal"],)
    radius = ("nearest",) if nearest else ()
    parts = (labels["model"], labels["defense"], labels["attack"], *goal, labels["norm"], *radius)
    text = re.sub(r"[^A-Za-z0-9_.]+", "-", "-".join(part.replace("=", "") for part in parts))
    return text[:SLUG_LENGTH].strip("-.") or "cell"


def _shown(value: Json) -> str:
    match value:
        case {"name": str(name)} | {"model": {"label": str(name)}}:
            return name
        case {"ensemble": list() | tuple() as members}:
            return "+".join(map(_shown, members))
        case {"path": str(path)}:
            return re.split(r"[/\\]", path)[-1]
        case Mapping():
            return " ".join(value)
        case list() | tuple():
            return ",".join(map(_shown, value))
        case _:
            return str(value)
