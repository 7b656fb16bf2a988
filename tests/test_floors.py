"""The rules of the house, read from the syntax trees of the package: who may import whom, how long, which names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from advbench import registry
from advbench.registry import Registry

PACKAGE = Path(registry.__file__).parent

# Imports only go down. A room is a folder or a file directly in the package; "" is the package itself.
FLOORS = {
    0: {"types", "names", "plain_images", "registration", "registry"},
    1: {"core"},
    2: {"models", "datasets", "metrics", "store"},
    3: {"attacks", "controls", "attributions", "features", "synthesis"},
    4: {"defenses", "diagnostics", "testing"},
    5: {"bench"},
    6: {"report"},
    7: {"", "cli"},
    8: {"__main__"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# (who, whom): the only imports along a floor
NEIGHBOURS = {
    ("plain_images", "types"),
    ("registration", "types"),
    ("registry", "types"),
    ("registry", "names"),
    ("registry", "plain_images"),
    ("registry", "registration"),
    ("cli", ""),
}

FORBIDDEN_NAMES = {"utils", "base", "misc", "common"}
REGISTERING = {table.kind for table in vars(registry).values() if isinstance(table, Registry)}
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
TEXT = {".py", ".j2", ".css", ".js"}
MOST_LINES = {"file": 300, "function": 60}


def violations(package: Path) -> list[str]:
    """Every broken rule below `package` (its folder is called advbench), as "path:line: what is wrong"."""
    found = []
    for path in sorted(package.rglob("*")):
        if path.suffix not in TEXT:
            continue
        where = path.relative_to(package.parent).as_posix()
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{where}:{line}: {what}" for line, what in _of_text(text)]
        if path.suffix == ".py":
            tree = ast.parse(text, where)
            for rule in (_of_names, _of_length, _of_imports, _of_registration):
                found += [f"{where}:{line}: {what}" for line, what in rule(path.relative_to(package), tree, text)]
    return found


Found = Iterator[tuple[int, str]]


def _of_text(text: str) -> Found:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.isascii():
            yield number, "not ASCII"
        if unfinished := UNFINISHED.search(line):
            yield number, f"unfinished: {unfinished[0]}"


def _of_names(path: Path, tree: ast.Module, text: str) -> Found:
    for part in (*path.parts[:-1], path.stem):
        if part in FORBIDDEN_NAMES:
            yield 1, f"nothing is called {part!r} here"
    if _room(path) not in FLOOR:
        yield 1, f"room {_room(path)!r} is on no floor"
    if path.name == "__init__.py" and not ast.get_docstring(tree):
        yield 1, "no sign on the door: __init__.py needs a docstring"


def _of_length(path: Path, tree: ast.Module, text: str) -> Found:
    lines = len(text.splitlines())
    if lines > MOST_LINES["file"]:
        yield lines, f"{lines} lines, at most {MOST_LINES['file']}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES["function"]:
                yield node.lineno, f"{node.name} has {lines} lines, at most {MOST_LINES['function']}"


def _of_imports(path: Path, tree: ast.Module, text: str) -> Found:
    mine = _room(path)
    if mine not in FLOOR:
        return
    for line, module in _imported(path, tree):
        room = module.removeprefix("advbench").removeprefix(".").split(".")[0]
        if room not in FLOOR:
            yield line, f"imports advbench.{room}, which is on no floor"
        elif room != mine and FLOOR[room] > FLOOR[mine]:
            yield line, f"imports up: {module} (floor {FLOOR[room]}) from floor {FLOOR[mine]}"
        elif room != mine and FLOOR[room] == FLOOR[mine] and (mine, room) not in NEIGHBOURS:
            yield line, f"imports a neighbour: {module} (floor {FLOOR[room]})"


def _of_registration(path: Path, tree: ast.Module, text: str) -> Found:
    """A registered function is named as its file. `@attack(...)` and `@registry.attack(...)` register."""
    known_as: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "advbench.registry":
            known_as |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in REGISTERING}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            made_by = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = ast.unparse(made_by)
            kind = known_as.get(name) or (name.rpartition("registry.")[2] if "registry." in name else "")
            if kind in REGISTERING and node.name != path.stem:
                yield node.lineno, f"{kind} {node.name!r} is in a file called {path.stem!r}"


def _room(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else path.stem.removeprefix("__init__")


def _imported(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, advbench module) of each import in the file, wherever it stands: in functions and for types only too."""
    here = ["advbench", *path.parent.parts]
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(here[: len(here) + 1 - node.level]) if node.level else ""
            source = ".".join(part for part in (start, node.module) if part)
            # `from advbench import types` fetches the room, `from advbench import evaluate` the package's own name.
            modules = [f"{source}.{alias.name}" if alias.name in FLOOR else source for alias in node.names]
            if source != "advbench":
                modules = [source]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            target = node.args[0]
            modules = [str(target.value)] if isinstance(target, ast.Constant) else []
        else:
            continue
        for module in modules:
            if module.split(".")[0] == "advbench":
                yield node.lineno, module


def test_the_house_keeps_its_rules() -> None:
    broken = violations(PACKAGE)
    assert not broken, "\n".join(["", *broken])


PLANTED = {
    "up": ("core/a.py", "from advbench.bench.runner import run", "imports up: advbench.bench.runner"),
    "up to the package itself": ("core/a.py", "from advbench import evaluate", "imports up: advbench (floor 7)"),
    "up by plain import": ("models/a.py", "import torch, advbench.attacks", "imports up: advbench.attacks"),
    "up from a room of one file": ("store.py", "from advbench.report import html", "imports up: advbench.report"),
    "up, relative": ("core/sub/a.py", "from ...bench import runner", "imports up: advbench.bench"),
    "up inside a function": ("core/a.py", "def f():\n    from advbench.cli import main", "a.py:2: imports up"),
    "up by name": ("core/a.py", "import importlib\nimportlib.import_module('advbench.bench')", "imports up"),
    "up for types only": (
        "core/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from advbench import attacks",
        "a.py:3: imports up: advbench.attacks",
    ),
    "neighbour": ("attacks/a.py", "from advbench.controls.gaussian import gaussian", "imports a neighbour"),
    "neighbour file": ("models/a.py", "from advbench.store import write_json", "imports a neighbour"),
    "unknown room": ("attic/a.py", "", "room 'attic' is on no floor"),
    "unknown room imported": ("core/a.py", "import advbench.attic", "imports advbench.attic, which is on no floor"),
    "long file": ("core/a.py", "x = 1\n" * 301, "301 lines, at most 300"),
    "long function": ("core/a.py", "class A:\n    def f(self):\n" + "        pass\n" * 60, "f has 61 lines"),
    "file called utils": ("core/utils.py", "", "nothing is called 'utils' here"),
    "folder called common": ("core/common/a.py", "", "nothing is called 'common' here"),
    "no sign": ("core/__init__.py", "x = 1", "no sign on the door"),
    "not ASCII": ("core/a.py", "x = '\u03b5'", "not ASCII"),
    "style sheet not ASCII": ("report/a.css", "/* \u03b5 */", "not ASCII"),
    "unfinished": ("core/a.py", "# TODO later", "unfinished"),
    "other name": (
        "attacks/a.py",
        "from advbench.registry import attack\n@attack(norms=(2,), access='none')\ndef b(): ...",
        "attack 'b' is in a file called 'a'",
    ),
    "other name, decorator renamed": (
        "datasets/a.py",
        "from advbench.registry import dataset as reader\n@reader()\ndef b(): ...",
        "dataset 'b' is in a file called 'a'",
    ),
    "other name, by module": (
        "models/a.py",
        "from advbench import registry\n@registry.model()\ndef b(): ...",
        "model 'b' is in a file called 'a'",
    ),
}

ALLOWED = {
    "down": (
        "bench/a.py",
        "from advbench.core.norms import lengths\nfrom advbench import types, metrics\nimport torch",
    ),
    "own room": (
        "attacks/gradient/a.py",
        "from advbench.attacks.gradient.b import b\nfrom .b import b\nfrom . import b",
    ),
    "floor 0": ("registry.py", "from advbench.types import ConfigError"),
    "the package itself": ("cli/a.py", "from advbench import evaluate"),
    "defenses to attacks": ("defenses/training/a.py", "from advbench.attacks.gradient.pgd import pgd"),
    "right name": ("attacks/a.py", "from advbench.registry import attack\n@attack()\ndef a(): ...\ndef _b(): ..."),
    "a decorator of somebody else": ("attacks/a.py", "from click import attack\n@attack()\ndef b(): ..."),
    "limits reached": ("core/a.py", "def f():\n" + "    pass\n" * 59 + "x = 1\n" * 240),
    "similar names": ("core/database.py", "import advbenchmarks"),
}


def plant(root: Path, path: str, text: str) -> Path:
    """A package with one file in it; its folders get their signs."""
    package = root / "advbench"
    file = package / path
    file.parent.mkdir(parents=True)
    for folder in (package, *(parent for parent in file.parents if package in parent.parents)):
        (folder / "__init__.py").write_text('"""A sign."""\n')
    file.write_text(text, encoding="utf-8")
    return package


@pytest.mark.parametrize(("path", "text", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_found(tmp_path: Path, path: str, text: str, message: str) -> None:
    found = violations(plant(tmp_path, path, text))
    assert any(message in each for each in found), found


@pytest.mark.parametrize(("path", "text"), ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed_is_not_reported(tmp_path: Path, path: str, text: str) -> None:
    assert violations(plant(tmp_path, path, text)) == []
