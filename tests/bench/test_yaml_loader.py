"""The strict YAML loader: JSON comes back as it is, the traps of YAML 1.1 are none, every refusal names its line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.bench.yaml_loader import MAX_BYTES, MAX_DEPTH, Node, load_yaml, parse_yaml
from advbench.types import ConfigError, Json

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("äß€\n\t"), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


def plain(node: Node) -> Json:
    """The value without its places."""
    match node.value:
        case tuple() as items:
            return [plain(item) for item in items]
        case Mapping() as table:
            return {key: plain(value) for key, value in table.items()}
        case value:
            return value


@given(VALUES)
def test_json_is_read_as_it_is(value: Json) -> None:
    assert plain(parse_yaml(json.dumps(value, ensure_ascii=False), "f.yaml")) == value


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_every_value_knows_its_line_and_its_place(gaps: list[int]) -> None:
    text = "".join("\n" * gap + f"- key{i}: {i}\n" for i, gap in enumerate(gaps))
    items = parse_yaml(text, "f.yaml").value
    assert isinstance(items, tuple)
    for i, item in enumerate(items):
        assert isinstance(item.value, Mapping)
        entry = item.value[f"key{i}"]
        assert entry.line == item.line == 1 + text.split("\n").index(f"- key{i}: {i}")
        assert entry.path == f"[{i}].key{i}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("y", "y"),
        ("10:30", "10:30"),
        ("010", 10),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1e-3", 0.001),
        ("8/255", "8/255"),
        (".5", 0.5),
        ("2001-01-01", "2001-01-01"),
        ("'1'", "1"),
        ("null", None),
        ("~", None),
        ("True", True),
        ("inf", "inf"),
        (".inf", float("inf")),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Json) -> None:
    assert plain(parse_yaml(f"key: {text}", "f.yaml")) == {"key": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: a stands twice; first on line 1"),
        ("x: {b: 1, c: 2, b: 3}", "f.yaml:1: x.b stands twice; first on line 1"),
        ("a: &anchor 1", "f.yaml:1: anchors"),
        ("a: 1\nb: *anchor", "f.yaml:2: anchors"),
        ("a: !!python/object/apply:os.system [ls]", "f.yaml:1: tags (tag:yaml.org,2002:python/object/apply:os.system)"),
        ("!local {a: 1}", "f.yaml:1: tags (!local)"),
        ("a: 1\n---\nb: 2", "f.yaml:2: a second document"),
        ("", "f.yaml:1: the file is empty"),
        ("? [1, 2]\n: 3", "f.yaml:1: the file has a key that is not a plain word"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), f"f.yaml:1: nested deeper than {MAX_DEPTH} levels"),
        ("a:\n\t- 1", "f.yaml:2: not valid YAML: "),
        ("a: [1\nb: 2", "f.yaml:2: not valid YAML: "),
        ("a: 1\nb: \x07", "f.yaml:2: not valid YAML: special characters are not allowed"),
    ],
)
def test_what_is_refused_names_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_yaml(text, "f.yaml")
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_an_exponential_number_of_aliases_costs_nothing() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(ConfigError, match=r"f\.yaml:1: anchors"):
        parse_yaml(bomb, "f.yaml")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary.yaml", tmp_path / "large.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\xfe\n")
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=r"binary\.yaml:2: not UTF-8"):
        load_yaml(binary)
    with pytest.raises(ConfigError, match="too large"):
        load_yaml(large)
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        load_yaml(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path)
