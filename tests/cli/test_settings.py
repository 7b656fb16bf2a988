"""KEY=VALUE: a name stays a name, everything else is what it looks like."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.cli.settings import settings, takes_words
from advbench.registry import ATTACKS
from advbench.types import ConfigError


@given(st.text(min_size=1).filter(lambda text: "=" not in text), st.text())
def test_a_word_arrives_as_it_was_written(key: str, value: str) -> None:
    class Takes:
        @staticmethod
        def parameters() -> dict[str, inspect.Parameter]:
            name = key.rpartition(".")[2]
            return {name: inspect.Parameter("own", inspect.Parameter.KEYWORD_ONLY, annotation=str)}

    assert settings([f"{key}={value}"], entries=[Takes]) == {key: None if value == "null" else value}


def test_the_name_of_a_module_is_no_number() -> None:
    assert settings(["module=1.10", "steps=10"], entries=[ATTACKS["bpda"]]) == {"module": "1.10", "steps": 10}
    assert settings(["module=1.10"]) == {"module": 1.1}


def test_without_a_signature_json_is_read_as_json() -> None:
    pairs = ["a=1", "b=0.5", "c=true", "d=null", "e=[1, 2]", "f=word", "g=8/255", "h="]
    assert settings(pairs) == {"a": 1, "b": 0.5, "c": True, "d": None, "e": [1, 2], "f": "word", "g": "8/255", "h": ""}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [(str, True), (str | None, True), (Path, True), (int | str, False), (float, False), (Literal["1"], False)],
)
def test_who_takes_words(annotation: object, words: bool) -> None:
    assert takes_words(annotation) == words


@pytest.mark.parametrize("pair", ["steps", "=3", ""])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        settings([pair])
