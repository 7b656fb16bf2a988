"""YAML read strictly: every value knows its file, line and place, and nothing is guessed.

The scalars are those of YAML 1.2 (`no` and `10:30` are text, `010` is ten, `1e-3` is a number). Tags, anchors,
aliases, several documents and duplicate keys are refused, so that a file means what it shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from advbench.types import ConfigError, Json

MAX_BYTES = 1 << 20
MAX_DEPTH = 16

Value: TypeAlias = "bool | int | float | str | tuple[Node, ...] | Mapping[str, Node] | None"


@dataclass(frozen=True)
class Node:
    """One value of the file. text: as written. path: such as attacks[1].pgd.steps ("" for the whole file)."""

    value: Value
    text: str
    file: str
    line: int
    path: str

    def error(self, message: str) -> ConfigError:
        """`FILE:LINE: PATH MESSAGE`, to be raised."""
        return ConfigError(f"{self.file}:{self.line}: {self.path} {message}".replace(":  ", ": "))

    def plain(self) -> Json:
        """The value without its places."""
        match self.value:
            case tuple() as items:
                return [item.plain() for item in items]
            case Mapping() as table:
                return {key: item.plain() for key, item in table.items()}
            case _:
                return self.value

    @property
    def kind(self) -> str:
        """What stands here, for messages."""
        match self.value:
            case None:
                return "nothing"
            case tuple():
                return "a list"
            case Mapping():
                return "a table"
            case _:
                return repr(self.text)


@contextmanager
def placing(node: Node) -> Iterator[None]:
    """Prefix a ConfigError that comes from elsewhere with the place of `node`."""
    with naming(f"{node.file}:{node.line}: {node.path}"):
        yield


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Prefix a ConfigError with its place."""
    try:
        yield
    except ConfigError as problem:
        raise ConfigError(f"{place}: {problem}") from None


def load_yaml(path: Path) -> Node:
    """The document in `path`. Raises ConfigError, one line with file and line, if it is not plain YAML."""
    file = str(path)
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{file}: cannot be read: {problem.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{file}: {len(raw)} bytes is too large for a matrix (at most {MAX_BYTES})")
    try:
        return parse_yaml(raw.decode("utf-8-sig"), file)
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise ConfigError(f"{file}:{line}: not UTF-8 text") from None


def parse_yaml(text: str, file: str) -> Node:
    """The document in `text`; `file` is the name shown in errors."""
    try:
        # The loader's type stub leaves its classes open; only events are used here, never its constructors.
        events: Iterator[Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        return _document(_Reader(events, file))
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{file}:{line}: not valid YAML: {problem.problem or problem.context}") from None
    except yaml.reader.ReaderError as problem:
        line = text.count("\n", 0, problem.position) + 1
        raise ConfigError(f"{file}:{line}: not valid YAML: {problem.reason}") from None


@dataclass(frozen=True)
class _Reader:
    events: Iterator[Event]
    file: str

    def refuse(self, event: Event, message: str) -> ConfigError:
        return ConfigError(f"{self.file}:{_line(event)}: {message}")


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _document(reader: _Reader) -> Node:
    """The only document of the stream."""
    event = next(reader.events)
    while isinstance(event, StreamStartEvent | DocumentStartEvent):
        event = next(reader.events)
    if isinstance(event, StreamEndEvent):
        raise reader.refuse(event, "the file is empty")
    node = _node(reader, event, _line(event), "", 0)
    next(reader.events)  # the end of the document
    after = next(reader.events)
    if not isinstance(after, StreamEndEvent):
        raise reader.refuse(after, "a second document starts here; one file is one matrix")
    return node


def _node(reader: _Reader, event: Event, line: int, path: str, depth: int) -> Node:
    """The value that starts with `event`; `line` is where its entry starts (the line of its key, if it has one)."""
    if depth > MAX_DEPTH:
        raise reader.refuse(event, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
        raise reader.refuse(event, "anchors (&) and aliases (*) are not supported; write the value again")
    if getattr(event, "tag", None):
        raise reader.refuse(event, f"tags ({getattr(event, 'tag', '')}) are not supported")
    if isinstance(event, ScalarEvent):
        value = _scalar(event.value) if event.implicit[0] else event.value
        return Node(value, event.value, reader.file, line, path)
    if isinstance(event, SequenceStartEvent):
        return Node(tuple(_items(reader, path, depth)), "", reader.file, line, path)
    assert isinstance(event, MappingStartEvent)
    return Node(_table(reader, path, depth), "", reader.file, line, path)


def _items(reader: _Reader, path: str, depth: int) -> Iterator[Node]:
    for index, event in enumerate(iter(lambda: next(reader.events), None)):
        if isinstance(event, SequenceEndEvent):
            return
        yield _node(reader, event, _line(event), f"{path}[{index}]", depth + 1)


def _table(reader: _Reader, path: str, depth: int) -> Mapping[str, Node]:
    table: dict[str, Node] = {}
    while not isinstance(event := next(reader.events), MappingEndEvent):
        if not isinstance(event, ScalarEvent):
            raise reader.refuse(event, f"{path or 'the file'} has a key that is not a plain word")
        key, line = event.value, _line(event)
        shown = key if key.isprintable() else ascii(key)
        place = f"{path}.{shown}" if path else shown
        _node(reader, event, line, place, depth)  # refuses anchors and tags on keys
        if key in table:
            raise reader.refuse(event, f"{place} stands twice; first on line {table[key].line}")
        table[key] = _node(reader, next(reader.events), line, place, depth + 1)
    return table


def _scalar(text: str) -> bool | int | float | str | None:
    """The value of a plain (unquoted) scalar by the YAML 1.2 core schema."""
    for pattern, convert in _SCALARS:
        if pattern.fullmatch(text):
            return convert(text)
    return text


_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], bool | int | float | None]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"[-+]?[0-9]{1,300}"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", "", 1))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda text: float("nan")),
)
