"""Parameters: what an annotation allows, what is an axis, and that nothing changes on the way to the function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.bench.parameters import alternatives, arguments, as_json, expand_parameters
from advbench.bench.yaml_loader import Node, parse_yaml
from advbench.core.annotations import describe
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.types import ConfigError, Json, canonical_json

ENTRIES = [*ATTACKS, *CONTROLS]


def node(text: str, file: str = "f.yaml") -> Node:
    """The value behind `key:`."""
    root = parse_yaml(f"key: {text}", file).value
    assert isinstance(root, dict)
    found = root["key"]
    assert isinstance(found, Node)
    return found


def points(text: str, annotation: object, default: object = None, file: str = "f.yaml") -> list[Json]:
    parameter = inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    return alternatives(node(text, file), parameter, {})


@pytest.mark.parametrize(
    ("text", "annotation", "expected"),
    [
        ("3", int, [3]),
        ("[3, 4]", int, [3, 4]),
        ("3", float, [3.0]),
        ("8/255", float, [8 / 255]),
        ("1e-3", float, [1e-3]),
        (".inf", float, ["inf"]),
        ("inf", float, ["inf"]),
        ("true", bool, [True]),
        ("[true, false]", bool, [True, False]),
        ("dlr", str, ["dlr"]),
        ("dlr", Literal["ce", "dlr"], ["dlr"]),
        ("2", Literal[1, 2], [2]),
        ("null", float | None, [None]),
        ("[null, 0.5]", float | None, [None, 0.5]),
        ("[1, 2]", tuple[int, ...], [[1, 2]]),
        ("[[1, 2], [3]]", tuple[int, ...], [[1, 2], [3]]),
        ("[0.1, 2]", tuple[float, int], [[0.1, 2]]),
        ("[a, b]", Sequence[str], [["a", "b"]]),
        ("[[1], [2]]", list[int] | None, [[1], [2]]),
        ("7", int | tuple[int, ...], [7]),
    ],
)
def test_a_list_is_an_axis_unless_the_parameter_is_a_list(text: str, annotation: object, expected: list[Json]) -> None:
    found = points(text, annotation)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("text", "annotation", "message"),
    [
        ("3.0", int, "must be an integer, got '3.0'"),
        ("true", int, "must be an integer, got 'true'"),
        ("'3'", int, "must be an integer, got '3'"),
        ("-3", int, "must not be negative, got -3"),
        ("true", float, "must be a number, got 'true'"),
        ("1/0", float, "must be a number, got '1/0'"),
        (".nan", float, "must be a number, got '.nan'"),
        ("many", float, "must be a number, got 'many'"),
        ("yes", bool, "must be true or false, got 'yes'"),
        ("1", bool, "must be true or false, got '1'"),
        ("true", str, "must be a word, got 'true'"),
        ("dlrr", Literal["ce", "dlr"], "must be one of ce, dlr, got 'dlrr'; did you mean 'dlr'?"),
        ("true", Literal[1, 2], "must be one of 1, 2, got 'true'"),
        ("x", float | None, "must be a number or null, got 'x'"),
        ("{a: 1}", int, "must be an integer, got a table"),
        ("~", int, "must be an integer, got nothing"),
        ("[]", int, "is an empty list"),
        ("3", tuple[int, ...], "must be a list of an integer, got '3'"),
        ("[1, 2, 3]", tuple[int, int], "must be a list of 2, got 3"),
        ("[1, x]", tuple[int, ...], "must be an integer, got 'x'"),
    ],
)
def test_a_value_of_another_type_is_refused(text: str, annotation: object, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        points(text, annotation)
    assert str(refusal.value).startswith("f.yaml:1: key")
    assert message in str(refusal.value)


@given(st.fractions(min_value=0, max_value=1000, max_denominator=1000))
def test_a_fraction_is_the_nearest_float(value: object) -> None:
    assert points(str(value), float) == [float(value)]  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_comes_through_exactly(value: float) -> None:
    assert points(repr(value), float) == [value]


def test_a_file_is_sought_beside_the_matrix_then_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, here = tmp_path / "matrices", tmp_path / "here"
    beside.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "patch.png").write_bytes(b"here")
    matrix = str(beside / "m.yaml")
    (found,) = points("patch.png", Path, file=matrix)
    assert isinstance(found, dict)
    assert found["path"] == str(here / "patch.png")
    (beside / "patch.png").write_bytes(b"beside")
    (nearer,) = points("patch.png", Path, file=matrix)
    assert isinstance(nearer, dict)
    assert nearer["path"] == str(beside / "patch.png")
    assert nearer["sha256"] != found["sha256"]
    with pytest.raises(ConfigError) as refusal:
        points("absent.png", Path, file=matrix)
    assert str(beside / "absent.png") in str(refusal.value)
    assert str(here / "absent.png") in str(refusal.value)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_defaults_travel_to_the_function_unchanged(entry: Entry[AttackInfo]) -> None:
    defaults = {name: own.default for name, own in entry.parameters().items() if own.default is not own.empty}
    travelled = {name: as_json(value) for name, value in defaults.items()}
    canonical_json(travelled)
    for name, value in arguments(entry, travelled).items():
        if isinstance(value, partial):
            assert value.func is defaults[name]
        else:
            assert value == defaults[name]
            assert type(value) is type(defaults[name])


def test_an_unknown_and_a_missing_parameter_are_named() -> None:
    parameters = ATTACKS["pgd"].parameters()
    owner = node("{stepz: 3}")
    assert isinstance(owner.value, dict)
    with pytest.raises(ConfigError, match=r"f\.yaml:1: key has no parameter 'stepz'; did you mean 'steps'"):
        expand_parameters(owner.value, parameters, owner, {})
    with pytest.raises(ConfigError, match=r"f\.yaml:1: key needs the parameter 'substitute'"):
        expand_parameters({}, ATTACKS["transfer"].parameters(), owner, {})


def test_types_are_described_in_words() -> None:
    assert describe(float | None) == "a number or null"
    assert describe(Literal["ce", "dlr"]) == "one of ce, dlr"
    assert describe(tuple[float, ...]) == "a list of a number"
    assert {describe(own.annotation) for own in ATTACKS["transfer"].parameters().values()} == {"a model", "an attack"}
    assert math.isinf(arguments(_toy(), {"value": "inf"})["value"])  # type: ignore[arg-type]


def _toy() -> Entry[AttackInfo]:
    def toy(*, value: float = 0.0) -> None:
        """An attack in name only."""

    return Entry("toy", toy, AttackInfo((2.0,), "none"))
