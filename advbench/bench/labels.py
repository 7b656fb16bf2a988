"""Shown names: as short as a matrix allows, and different for different things."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from advbench.types import Json, content_key

SLUG_LENGTH = 80
_MOST = 3  # differences that a label names


def distinguish(names: Sequence[str], facts: Sequence[Mapping[str, Json]]) -> list[str]:
    """A label for each entry: its name, and those of its facts in which entries of the same name differ.

    One pgd is "pgd"; two are "pgd steps=10" and "pgd steps=100". Where two facts read alike (inner attacks, files of
    one name in two folders), what differs inside of them is added. Equal entries get equal labels.
    """
    labels = []
    for name, own in zip(names, facts, strict=True):
        same = [other for other_name, other in zip(names, facts, strict=True) if other_name == name]
        varying = {key: [other.get(key) for other in same if other.get(key) != own[key]] for key in own}
        labels.append(" ".join([name, *(_fact(key, own[key], others) for key, others in varying.items() if others)]))
    keys = [content_key({"name": name, "facts": own}) for name, own in zip(names, facts, strict=True)]
    used = Counter(label for label, _ in set(zip(labels, keys, strict=True)))
    # What even that does not tell apart (a file's content) is told apart by its hash.
    return [label if used[label] == 1 else f"{label} {key[:4]}" for label, key in zip(labels, keys, strict=True)]


def with_settings(name: str, params: Mapping[str, Json]) -> str:
    """ "rise", or "rise masks=500" with its parameters."""
    return " ".join([name, *(f"{key}={_shown(value)}" for key, value in params.items())])


def _fact(key: str, own: Json, others: Sequence[Json]) -> str:
    """ "key=value", told apart from the other values, which are different but may read alike."""
    alike = [other for other in others if _shown(other) == _shown(own)]
    if isinstance(own, Mapping) and "file" in own and alike:
        return f"{key}={_tail(str(own['file']), [str(other['file']) for other in alike if isinstance(other, Mapping)])}"
    mine, theirs = dict(_leaves(own)), [dict(_leaves(other)) for other in alike]
    inside = [name for name in mine if any(other.get(name) != mine[name] for other in theirs)][:_MOST]
    table = isinstance(own, Mapping) and _shown(own) == " ".join(own)  # of which only the keys would be shown
    head = key if table and inside else f"{key}={_shown(own)}"
    return " ".join([head, *(f"{name.split('.')[-1]}={_shown(mine[name])}" for name in inside)])


def _leaves(value: Json, name: str = "") -> Iterator[tuple[str, Json]]:
    """The values that are no tables inside of `value`, by their dotted names; hashes are left out."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        if key != "sha256":
            yield from _leaves(inner, f"{name}.{key}" if name else key)


def _tail(path: str, others: Sequence[str]) -> str:
    """The end of a path without its suffix, as long as it takes to tell it from the others."""
    parts = PurePath(path).with_suffix("").parts
    ends = [PurePath(other).with_suffix("").parts for other in others]
    length = next((k for k in range(1, len(parts)) if all(end[-k:] != parts[-k:] for end in ends)), len(parts))
    return "/".join(parts[-length:])


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
        case {"file": str(path)}:
            return PurePath(path).stem
        case {"path": str(path)}:
            return re.split(r"[/\\]", path)[-1]
        case Mapping():
            return " ".join(value)
        case list() | tuple():
            return ",".join(map(_shown, value))
        case _:
            return str(value)
