"""A parameter given as KEY=VALUE, checked against the signature of the function that takes it."""

from __future__ import annotations

import inspect
import re
from types import NoneType
from typing import get_args

from advbench.bench.parameters import alternatives, argument
from advbench.bench.yaml_loader import Node
from advbench.core.annotations import SEQUENCES, kind_of, members
from advbench.types import ConfigError, Json


def given(method: str, parameter: inspect.Parameter, value: Json) -> object:
    """`value` as the argument of that parameter of `method`. Raises ConfigError if it does not fit its annotation.

    One value for a parameter that is a list of any length stands for a list of one.
    """
    where = f"{method}.{parameter.name}"
    alone = value is not None and not isinstance(value, list | tuple)
    try:
        points = alternatives(_node([value] if alone and _is_list(parameter) else value, where), parameter, {})
    except ConfigError as problem:
        raise ConfigError(re.sub(r"^:0: ", "--param ", str(problem))) from None
    if len(points) != 1:
        raise ConfigError(f"--param {where}: one value is expected, got {len(points)}")
    return argument(points[0], parameter.annotation)


def _is_list(parameter: inspect.Parameter) -> bool:
    """Does it take a list of any length, and nothing else but perhaps null?"""
    kinds = {kind_of(member) for member in members(parameter.annotation)} - {NoneType}
    lengths = [get_args(member)[1:] for member in members(parameter.annotation)]
    return kinds <= set(SEQUENCES) and all(rest in ((), (...,)) for rest in lengths)


def _node(value: Json, path: str) -> Node:
    if isinstance(value, list | tuple):
        return Node(tuple(_node(item, path) for item in value), str(value), "", 0, path)
    if value is None or isinstance(value, bool | int | float | str):
        return Node(value, str(value), "", 0, path)
    raise ConfigError(f"--param {path}: a plain value or a list is expected")
