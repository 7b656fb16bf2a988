"""What is asked of a function before it is registered, and what its code is known by."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from advbench.attacks.gradient.pgd import pgd
from advbench.registration import code_of

HELPED = "def helper():\n    return {value}\ndef made():\n    return helper()\n"
ALONE = "def made():\n    return {value}\n"


def made_by(text: str, filename: str, module: str = "made_nowhere") -> Callable[..., object]:
    names: dict[str, Callable[..., object]] = {"__name__": module}  # type: ignore[dict-item]
    exec(compile(text, filename, "exec"), names)
    return names["made"]


def test_ours_are_known_by_their_name() -> None:
    assert code_of(pgd) == ""


def test_a_file_counts_with_the_helpers_beside_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for i, value in enumerate((1, 2, 1)):
        name = f"made_in_a_file_{i}"
        (tmp_path / f"{name}.py").write_text(HELPED.format(value=value))
        found.append(code_of(__import__(name).made))
        del sys.modules[name]
    assert found[0] != found[1]
    assert len(found[0]) == 64


@pytest.mark.parametrize("with_source", [True, False], ids=["notebook", "prompt"])
def test_without_a_file_the_function_itself_counts(with_source: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for i, value in enumerate((1, 2, 1)):
        text, place = ALONE.format(value=value), f"<cell {i}>" if with_source else "<stdin>"
        if with_source:
            monkeypatch.setitem(linecache.cache, place, (len(text), None, text.splitlines(keepends=True), place))
        found.append(code_of(made_by(text, place)))
    assert found[0] == found[2] != found[1]


def test_a_script_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    found = []
    for value in (1, 2):
        script.write_text(HELPED.format(value=value))
        found.append(code_of(made_by(script.read_text(), str(script), "__main__")))
    assert found[0] != found[1]
