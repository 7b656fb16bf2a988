"""What is asked of a function before it is registered, and what the code of one from outside is known by."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import marshal
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from advbench.types import norm_of

Function = TypeVar("Function", bound=Callable[..., object])
_BY_POSITION = ("model", "x", "y", "threat")


def code_of(function: Callable[..., object]) -> str:
    """SHA-256 of the code of a function from outside of this package; "" for ours, whose `revision` speaks of it.

    Of its whole file, as helpers beside it matter too; where there is none (a notebook) of its own source; and where
    there is no source either (typed at a prompt) of what it was compiled to. To be taken as soon as there is a
    function: its file may be edited while the process runs.
    """
    name = function.__module__ or ""
    if name.partition(".")[0] == "advbench":
        return ""
    file = Path(getattr(sys.modules.get(name), "__file__", None) or "")
    source = file.read_bytes() if file.is_file() else _without_file(function)
    return hashlib.sha256(source).hexdigest()


def _without_file(function: Callable[..., object]) -> bytes:
    try:
        return inspect.getsource(function).encode()
    except OSError:
        # Version 2 of the format has no references, which depend on what else is in memory.
        return marshal.dumps(inspect.unwrap(function).__code__, 2)


def check_called(function: Function) -> Function:
    """The function itself. Raises TypeError if a run could not call it as it calls attacks and controls."""
    signature = inspect.signature(function)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    places = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    first = [parameter.name for parameter in itertools.takewhile(lambda each: each.name != "draws", places)]
    lacking = [] if inspect.Parameter.VAR_POSITIONAL in kinds else list(_BY_POSITION[len(first) :])
    if "draws" not in signature.parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
        lacking.append("draws")
    never = [each.name for each in places[len(_BY_POSITION) :] if each.default is each.empty and each.name != "draws"]
    if lacking or never:
        wrong = f"lacks {', '.join(lacking)}" if lacking else f"would never be given {', '.join(never)}"
        raise TypeError(
            f"{function.__name__}{signature}: {wrong}; what is registered takes (model, x, y, threat, *, draws, ...): "
            "four by position, draws by name, and behind the * what a matrix may set"
        )
    return function


def check_annotated(name: str, parameters: Iterable[inspect.Parameter]) -> None:
    """Raise TypeError if a parameter of the function `name` has no annotation."""
    for parameter in parameters:
        if parameter.annotation is parameter.empty:
            raise TypeError(
                f"{name}: the parameter {parameter.name!r} needs an annotation: what may a matrix set it to?"
            )


def revisions_of(revision: int | Mapping[float, int], norms: tuple[float, ...]) -> dict[float, int]:
    """The revision in each norm where it is not the first; one number is for all norms.

    Raises ValueError for a norm that is not among `norms` and for a revision below 1.
    """
    given = dict.fromkeys(norms, revision) if isinstance(revision, int) else revision
    found = {norm_of(norm): number for norm, number in given.items()}
    if not found.keys() <= set(norms) or min(found.values(), default=1) < 1:
        raise ValueError(f"revision must be at least 1, or such numbers by the attack's norms, got {revision!r}")
    return {norm: number for norm, number in found.items() if number != 1}
