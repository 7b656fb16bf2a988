"""Reading the plain parts of a matrix: its keys, tables with known keys, lists, words, whole numbers, norms, radii."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from advbench.bench.yaml_loader import Node, load_yaml, placing
from advbench.names import nearest
from advbench.types import ConfigError, Radius, norm_of

KEYS = (
    *("schema", "question", "seed", "precision", "grid", "budget", "data", "models", "defenses", "threats"),
    *("attacks", "controls", "explain", "pictures", "exclude"),
)
REQUIRED = ("question", "data", "models", "threats")


def read_sections(path: Path) -> tuple[Node, Mapping[str, Node]]:
    """The matrix in the YAML file `path`, and what stands under its keys. Raises ConfigError on keys that are wrong.

    Nothing heavy is imported for it, so that a command can answer a slip of the pen at once.
    """
    root = load_yaml(path)
    sections = table(root, KEYS, REQUIRED)
    if "attacks" not in sections and "controls" not in sections:
        raise root.error("needs 'attacks' or 'controls'")
    if "schema" in sections and sections["schema"].value != 1:
        raise sections["schema"].error(f"must be 1, got {sections['schema'].kind}")
    return root, sections


def table(node: Node, allowed: Sequence[str], required: Sequence[str] = ()) -> Mapping[str, Node]:
    """The table at `node`. Raises ConfigError on keys that are not allowed or missing."""
    if not isinstance(node.value, Mapping):
        raise node.error(f"must be a table with the keys {', '.join(allowed)}, got {node.kind}")
    for key, value in node.value.items():
        if key not in allowed:
            raise unknown(value, node, "key", key, allowed)
    for key in required:
        if key not in node.value:
            raise node.error(f"needs the key {key!r}")
    return node.value


def unknown(node: Node, owner: Node, what: str, name: str, allowed: Sequence[str]) -> ConfigError:
    """`FILE:LINE: OWNER has no WHAT 'NAME'; did you mean ...? It has: ...`, at the line of `node`."""
    near = nearest(name, list(allowed)) or (f"allowed: {', '.join(sorted(allowed))}" if allowed else "it takes none")
    place = owner.path or "a matrix"
    return ConfigError(f"{node.file}:{node.line}: {place} has no {what} {name!r}; {near.strip()}")


def each(node: Node | None) -> tuple[Node, ...]:
    """The items of a list, or the one value; nothing if the key is missing. Raises ConfigError on an empty list."""
    if node is None:
        return ()
    if node.value == () or node.value is None:
        raise node.error("is empty; give at least one value or leave the key out")
    return node.value if isinstance(node.value, tuple) else (node,)


def word(node: Node) -> str:
    """The text at `node`."""
    if not isinstance(node.value, str):
        raise node.error(f"must be a word, got {node.kind}")
    return node.value


def integer(fields: Mapping[str, Node], key: str, *, default: int = 0, lowest: int = 0) -> int:
    """The whole number under `key`, at least `lowest`; `default` if the key is missing."""
    if key not in fields:
        return default
    value = fields[key].value
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise fields[key].error(f"must be an integer >= {lowest}, got {fields[key].kind}")
    return value


def read_norm(node: Node) -> float:
    """0, 1, 2 or inf, also written linf or .inf."""
    if isinstance(node.value, tuple | Mapping):
        raise node.error(f"must be 0, 1, 2 or inf, got {node.kind}")
    with placing(node):
        return norm_of(node.value)


def read_radius(node: Node) -> Radius:
    """A radius as written: 1, 0.3, 1e-3 or 8/255."""
    if not re.fullmatch(r"[-+]?[0-9.]{1,40}([eE][-+]?[0-9]{1,2}|/[0-9]{1,40})?", node.text):
        raise node.error(f"must be a number such as 0.3 or 8/255, got {node.kind}")
    with placing(node):
        return Radius(node.text)
