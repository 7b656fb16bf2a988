"""What the annotation of a parameter allows: asked of a Python value, and said in words."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

from torch import Tensor, nn

SEQUENCES = (tuple, list, collections.abc.Sequence)
_UNIONS = (Union, types.UnionType)


def members(annotation: object) -> tuple[object, ...]:
    """The annotation itself, or what its union is made of."""
    return get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)


def kind_of(annotation: object) -> object:
    """int, tuple, Literal, ...: the annotation without what stands in its brackets."""
    return types.NoneType if annotation is None else typing.get_origin(annotation) or annotation


def options(annotation: object) -> Iterator[object]:
    """The values that the literals of an annotation list."""
    for member in members(annotation):
        if kind_of(member) is Literal:
            yield from get_args(member)


def describe(annotation: object) -> str:
    """What a value must be, in words: "an integer", "one of ce, dlr", "a number or null"."""
    return " or ".join(dict.fromkeys(_word(member) for member in members(annotation)))


def fits(value: object, annotation: object) -> bool:
    """Is `value` what the annotation says? Whole numbers are numbers too; True and False are not."""
    return any(_is(value, member) for member in members(annotation))


def _is(value: object, member: object) -> bool:
    sort = kind_of(member)
    if sort in _TESTS:
        return _TESTS[sort](value)
    if sort is Literal:
        return any(value == option and type(value) is type(option) for option in get_args(member))
    if sort in SEQUENCES:
        return isinstance(value, list | tuple) and _items_fit(value, get_args(member))
    return not isinstance(sort, type) or isinstance(value, sort)


def _items_fit(items: collections.abc.Sequence[object], inner: tuple[object, ...]) -> bool:
    if len(inner) == 1 or inner[1:] == (...,):
        inner = inner[:1] * len(items)
    return len(items) == len(inner) and all(fits(item, member) for item, member in zip(items, inner, strict=True))


# numpy's numbers are numbers; a tensor with one element is none.
_TESTS: Mapping[object, Callable[[object], bool]] = {
    types.NoneType: lambda value: value is None,
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, Integral) and not isinstance(value, bool),
    float: lambda value: isinstance(value, Real) and not isinstance(value, bool),
    Path: lambda value: isinstance(value, str | Path),
    collections.abc.Callable: callable,
}


def _word(annotation: object) -> str:
    sort = kind_of(annotation)
    if sort is Literal:
        return "one of " + ", ".join(str(option) for option in get_args(annotation))
    if sort in SEQUENCES:
        return "a list of " + ", ".join(describe(member) for member in get_args(annotation) if member is not ...)
    return _WORDS.get(sort, getattr(annotation, "__name__", str(annotation)))


_WORDS: Mapping[object, str] = {
    types.NoneType: "null",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a word",
    Path: "a file",
    nn.Module: "a model",
    Tensor: "a tensor (in Python)",
    collections.abc.Callable: "an attack",
}
