"""docs/gallery.md: its commands are commands, and its pictures are there and say how they were made."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
from PIL import Image

from advbench.cli import cli

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "gallery.md").read_text()
LARGEST = 150_000  # bytes


@pytest.fixture
def script() -> ModuleType:
    """docs/gallery_pictures.py as a module."""
    spec = importlib.util.spec_from_file_location("gallery_pictures", DOCS / "gallery_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_is_one(script: ModuleType) -> None:
    found = [words for words in script.commands(TEXT) if words[0] == "advbench"]
    assert len(found) > 10
    for words in found:
        assert words[-2] == "--out"
        command = cli.get_command(click.Context(cli), words[1])
        assert command is not None
        command.make_context(words[1], words[2:])  # raises on an option that there is not


def test_every_picture_is_there_and_is_made_by_a_command_beside_it(script: ModuleType) -> None:
    shown = re.findall(r"!\[[^\]]+\]\(gallery/(\w+)\.png\)", TEXT)
    made = {Path(words[-1]).stem: words for words in script.commands(TEXT) if words[-1].endswith(".png")}
    assert sorted(shown) == sorted(made)
    for name in shown:
        file = DOCS / "gallery" / f"{name}.png"
        assert file.stat().st_size < LARGEST, name
        with Image.open(file) as picture:
            assert script.shlex.split(picture.info["Command"]) == made[name]


def test_no_picture_is_left_over() -> None:
    assert {file.stem for file in (DOCS / "gallery").glob("*.png")} == set(re.findall(r"gallery/(\w+)\.png", TEXT))


def test_a_file_stands_in_for_named_weights(script: ModuleType, tmp_path: Path) -> None:
    words = ["explain", "cam", "--model", script.NET, "--out", "a.png"]
    net, file = script.NET.partition("@")[0], str(tmp_path / "w.pt")
    assert script._with(words, Path(file)) == [*words[:3], net, "--weights", file, *words[4:]]
    assert script._with(words, None) == words


def test_the_photographs_are_made_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    photographs = importlib.import_module("photographs")
    picture = photographs.photograph("chelsea")
    first, again = (photographs.cuttings(picture, np.random.default_rng(0)) for _ in range(2))
    assert [piece.tobytes() for piece in first] == [piece.tobytes() for piece in again]
    assert {piece.size for piece in [*first, photographs.cat_and_coffee()]} == {(224, 224)}
    assert len(first) == photographs.PIECES
