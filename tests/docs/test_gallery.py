"""docs/gallery.md: its commands are commands, and its pictures are there and say how they were made."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from advbench.cli import cli
from advbench.registry import SYNTHESES

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
    shown = re.findall(r"!\[[^\]]+\]\(gallery/(\w+\.(?:png|gif))\)", TEXT)
    commands = list(script.commands(script.shown(TEXT)))
    made = {words[-1]: words for words in commands if words[-1].endswith((".png", ".gif"))}
    assert sorted(shown) == sorted(made)
    for name in shown:
        file = DOCS / "gallery" / name
        assert file.stat().st_size < LARGEST, name
        with Image.open(file) as picture:
            said = picture.info["comment"].decode().removeprefix("Command: ") if ".gif" in name else ""
            assert script.shlex.split(said or picture.info["Command"]) == made[name]


def test_no_picture_is_left_over() -> None:
    files = {file.name for file in (DOCS / "gallery").iterdir()}
    assert files == set(re.findall(r"gallery/(\w+\.(?:png|gif))", TEXT))


def test_every_method_of_pictures_has_a_command_without_a_network_connection(script: ModuleType) -> None:
    commands = list(script.commands(script.tried(TEXT)))
    assert {words[2] for words in commands if words[1] == "picture"} == set(SYNTHESES.names())
    assert not [word for words in commands for word in words if "torchvision:" in word]


@pytest.mark.slow
def test_the_commands_for_a_fresh_machine_work(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, in an empty folder, with fewer steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.setattr("advbench.bench.picturing.DECODER_STEPS", 2)
    programs = {"python": importlib.import_module("photographs").main, "advbench": cli}
    for words in script.commands(script.tried(TEXT)):
        short = words[2:] if words[0] == "python" else quick(words[1:])
        result = CliRunner().invoke(programs[words[0]], short)
        assert result.exit_code == 0, (short, result.output, result.exception)
        assert Path(words[-1]).exists(), short


# By command or method: options in place of those on the page, or beside them.
QUICK = {
    "train": ["--epochs", "1"],
    "train-style": ["--steps", "2", "--side", "32"],
    "cue-conflict-stimuli": ["--each", "1", "--side", "32"],
    "cue-conflict": [],
    "fast_style": [],
    "adaptive_style": [],
    "efros_leung": ["--size", "12"],
    "wei_levoy": ["--size", "24"],
    "style": ["--param", "steps=[1,1]", "--size", "48"],
    "dream_zoom": ["--param", "frames=2", "--param", "steps=1"],
    "arf": ["--param", "steps=1", "--param", "frames=2", "--param", "fit_steps=[2]", "--param", "sides=[8]"],
    "inversion": ["--param", "steps=2", "--param", "restarts=1"],
}


def quick(words: list[str]) -> list[str]:
    """The words of a command with the values of QUICK, by default with two steps."""
    rest = list(words)
    method = words[1] if words[0] == "picture" else words[0]
    options = QUICK.get(method, ["--param", "steps=2"])
    for option, value in zip(options[::2], options[1::2], strict=True):
        key = value.partition("=")[0] + "=" if option == "--param" else ""
        for place in reversed(range(len(rest) - 1)):
            if rest[place] == option and rest[place + 1].startswith(key):
                del rest[place : place + 2]
    return [*rest[:-2], *options, *rest[-2:]]


def test_a_file_stands_in_for_named_weights(script: ModuleType, tmp_path: Path) -> None:
    words = ["explain", "cam", "--model", script.NET, "--out", "a.png"]
    net, file = script.NET.partition("@")[0], str(tmp_path / "w.pt")
    files = {script.NET: (net, Path(file)), script.VGG: ("vgg19_distilled", None)}
    assert script._with(words, files) == [*words[:3], net, "--weights", file, *words[4:]]
    assert script._with([*words[:3], script.VGG], files) == [*words[:3], script.VGG]


def test_the_photographs_are_made_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    photographs = importlib.import_module("photographs")
    picture = photographs.photograph("chelsea")
    first, again = (photographs.cuttings(picture, np.random.default_rng(0)) for _ in range(2))
    assert [piece.tobytes() for piece in first] == [piece.tobytes() for piece in again]
    assert {piece.size for piece in [*first, photographs.cat_and_coffee()]} == {(224, 224)}
    assert len(first) == photographs.PIECES
