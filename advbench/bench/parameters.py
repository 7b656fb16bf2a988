"""Parameters of registered functions: YAML values checked against annotations, axes expanded, defaults filled in.

A parameter travels as JSON from the file to the cell and becomes a Python argument again only when the
function is called (`arguments`). A file travels as {"path", "sha256"}, an infinite float as "inf".
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import math
import types
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar, get_args

from advbench.bench.sections import unknown
from advbench.bench.yaml_loader import Node
from advbench.core.annotations import SEQUENCES, describe, kind_of, members, options
from advbench.names import nearest
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import Json, content_key

Info = TypeVar("Info")

# Reads one entry that is no plain value (a model, an attack) into all points of its axes.
Special = Callable[[Node], "list[Json]"]


def expand_parameters(
    table: Mapping[str, Node],
    parameters: Mapping[str, inspect.Parameter],
    owner: Node,
    specials: Mapping[object, Special],
) -> list[dict[str, Json]]:
    """Every combination of the values in `table`, each with the defaults of `parameters` filled in.

    owner: the entry, for errors. specials: readers of parameters annotated with a type that YAML does not know.
    Raises ConfigError on an unknown, missing or ill-typed parameter.
    """
    for name, node in table.items():
        if name not in parameters:
            raise unknown(node, owner, "parameter", name, list(parameters))
    axes: list[list[Json]] = []
    for name, parameter in parameters.items():
        if name in table:
            axes.append(alternatives(table[name], parameter, specials))
        elif parameter.default is inspect.Parameter.empty:
            raise owner.error(f"needs the parameter {name!r}")
        else:
            axes.append([as_json(parameter.default)])
    return [dict(zip(parameters, point, strict=True)) for point in itertools.product(*axes)]


def alternatives(node: Node, parameter: inspect.Parameter, specials: Mapping[object, Special]) -> list[Json]:
    """The points of the axis at `node`: the values of a list, or the one value."""
    annotation = parameter.annotation
    kinds = [kind_of(member) for member in members(annotation)]
    special = next((specials[kind] for kind in kinds if kind in specials), None)
    items = node.value if isinstance(node.value, tuple) else None
    takes_list = any(kind in SEQUENCES for kind in kinds)
    # Where the parameter is itself a list, only a list of lists is an axis.
    if items is not None and (not takes_list or any(isinstance(item.value, tuple) for item in items)):
        if not items:
            raise node.error("is an empty list; give at least one value")
        return [point for item in items for point in _points(item, parameter, special)]
    return _points(node, parameter, special)


def _points(node: Node, parameter: inspect.Parameter, special: Special | None) -> list[Json]:
    if special is not None and node.value is not None:
        return special(node)
    value = read_value(node, parameter.annotation)
    if type(value) is int and value < 0 and not _is_negative(parameter.default):
        raise node.error(f"must not be negative, got {node.text}")
    return [value]


def _is_negative(default: object) -> bool:
    return isinstance(default, int) and default < 0


def read_value(node: Node, annotation: object) -> Json:
    """The value at `node` if it fits `annotation`; else ConfigError."""
    for member in members(annotation):
        for value in _fitting(node, member):
            return value
    near = nearest(node.text, [str(option) for option in options(annotation)])
    raise node.error(f"must be {describe(annotation)}, got {node.kind}" + (f"; {near.strip()}" if near else ""))


def _fitting(node: Node, annotation: object) -> Iterator[Json]:
    """The value at `node` as `annotation`, if it is one: none or one item."""
    value = node.value
    match kind_of(annotation), value:
        case (types.NoneType, None):
            yield None
        case (kind, bool() as claim) if kind is bool:
            yield claim
        case (kind, int() as number) if kind is int and not isinstance(value, bool):
            yield number
        case (kind, int() | float() | str() as number) if kind is float and not isinstance(value, bool):
            yield from _number(number)
        case (kind, str() | int() | float()) if kind is str and not isinstance(value, bool):
            yield node.text  # a name may look like a number: the layer "0", or "1.10"
        case (kind, str() as text) if kind is Path:
            yield file_json(resolve_path(node, text))
        case (kind, bool() | int() | str() as option) if kind is Literal:
            yield from (option for known in get_args(annotation) if known == option and type(known) is type(option))
        case (kind, tuple() as items) if kind in SEQUENCES:
            yield _sequence(node, items, annotation)


def _sequence(node: Node, items: tuple[Node, ...], annotation: object) -> Json:
    members = get_args(annotation)
    if len(members) == 1 or members[1:] == (...,):
        members = members[:1] * len(items)
    if len(items) != len(members):
        raise node.error(f"must be a list of {len(members)}, got {len(items)}")
    return [read_value(item, member) for item, member in zip(items, members, strict=True)]


def _number(value: int | float | str) -> Iterator[Json]:
    """A float, also from "8/255"; an infinite one as the word "inf", which JSON can hold."""
    try:
        number = float(Fraction(value)) if isinstance(value, str) and "/" in value else float(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        return
    if not math.isnan(number):
        yield as_json(number)


def as_json(value: object) -> Json:
    """A default of a signature (or a checked value) as JSON."""
    match value:
        case float() if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        case None | bool() | int() | float() | str():
            return value
        case tuple() | list():
            return [as_json(item) for item in value]
        case Path():
            return file_json(value)
        case _ if callable(value):
            entry = ATTACKS[getattr(value, "__name__", "")]
            return {
                "name": entry.name,
                "params": {key: as_json(own.default) for key, own in entry.parameters().items()},
            }
    raise TypeError(f"a default of type {type(value).__name__} has no JSON form")


def file_json(path: Path) -> Json:
    """A file as it travels: where it is, and what it holds."""
    return {"path": str(path), "sha256": content_of(path)}


def resolve_path(node: Node, text: str, split: str = "{split}") -> Path:
    """The existing file or folder `text`, seen from the matrix's folder, then from the current one.

    A {split} in `text` is kept; the file of `split` is the one that must exist.
    """
    tried = [(folder / text).resolve() for folder in (Path(node.file).absolute().parent, Path.cwd())]
    for path in tried:
        if Path(str(path).replace("{split}", split)).exists():
            return path
    places = " and ".join(str(path) for path in dict.fromkeys(tried))
    raise node.error(f"names {text!r}, which does not exist; looked for {places}")


def arguments(entry: Entry[Info], params: Mapping[str, Json], substitute: object | None = None) -> dict[str, object]:
    """Resolved parameters as the keyword arguments of `entry.function`: the inverse of `as_json`.

    substitute: the loaded model for a parameter of that name. An attack becomes its function with its own parameters
    filled in, a file its Path, a list a tuple.
    """
    annotations = {name: parameter.annotation for name, parameter in entry.parameters().items()}
    values = {name: argument(value, annotations[name]) for name, value in params.items()}
    return values | ({"substitute": substitute} if substitute is not None else {})


def argument(value: Json, annotation: object) -> object:
    """A resolved value as the Python argument of a parameter with this annotation."""
    match value:
        case {"path": str(path), "sha256": _}:
            return Path(path)
        case {"name": str(name), "params": Mapping() as params}:
            entry = ATTACKS[name]
            return functools.partial(entry.function, **arguments(entry, params))
        case "inf" | "-inf" if float in members(annotation):
            return float(value)
        case list() | tuple():
            return tuple(argument(item, float) if item in ("inf", "-inf") else argument(item, str) for item in value)
        case _:
            return value


def inner_attacks(params: Mapping[str, Json]) -> Iterator[Entry[AttackInfo]]:
    """The attacks among the parameters of an attack, and among theirs."""
    for value in params.values():
        match value:
            case {"name": str(name), "params": Mapping() as inner, **others} if not others:
                yield ATTACKS[name]
                yield from inner_attacks(inner)


def content_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and sizes of all files in a folder."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return content_key([[file.relative_to(path).as_posix(), file.stat().st_size] for file in files])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
