"""`advbench picture`: pictures with their history, mistakes told before work starts, interrupted runs taken up."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from advbench.bench.picture_run import Asked, run_picture
from advbench.bench.picturing import PLACES, Materials, arguments_of, make
from advbench.cli import cli
from advbench.registry import SYNTHESES
from advbench.report.picture_file import sheet
from advbench.store import write_tensors
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net


@pytest.fixture
def net(tmp_path: Path) -> list[str]:
    """Options for a small network with weights, of three channels and four classes."""
    (tmp_path / "net.json").write_text(
        '[{"name": "pooled", "file": "net.safetensors", "layers": [["conv", 3, 6, 3, 1, 1, 1], ["relu"], '
        '["conv", 6, 8, 3, 2, 1, 1], ["relu"], ["avgpool_all"], ["flatten"], ["linear", 8, 4]]}]'
    )
    write_tensors(tmp_path / "net.safetensors", pooled_net().state_dict())
    return ["--model", f"sequential:{tmp_path / 'net.json'}#pooled", "--dataset", f"npz:{_data(tmp_path)}"]


def _data(folder: Path) -> Path:
    file = folder / "data.npz"
    images = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), dtype=np.uint8)
    np.savez(file, images=images, labels=np.arange(8) % 4)
    return file


def photo(path: Path, height: int = 20, width: int = 24) -> Path:
    values = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def picture(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["picture", *map(str, words)])
    if isinstance(result.exception, ConfigError):  # `main` makes one line of it
        return 2, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_a_picture_says_how_it_was_made_and_leaves_no_state(tmp_path: Path, net: list[str]) -> None:
    out = tmp_path / "made.png"
    code, _ = picture(
        "visualize", *net, "--target", "class:2", "--size", "16", "--param", "steps=4", "--every", 2, "--out", out
    )
    assert code == 0
    with Image.open(out) as file:
        assert file.size == (16, 16)
        assert "advbench picture visualize --model" in file.text["Command"]  # type: ignore[attr-defined]
        assert file.text["Seed"] == "0"  # type: ignore[attr-defined]
    previews = sorted(path.name for path in (tmp_path / "made.png.previews").iterdir())
    assert previews == ["phase-00-step-0000.png", "phase-00-step-0002.png"]
    assert not (tmp_path / "made.png.run").exists()


def test_frames_become_a_film(tmp_path: Path, net: list[str]) -> None:
    out = tmp_path / "zoom.gif"
    words = ["--param", "frames=3", "--param", "steps=1", "--param", "octaves=1"]
    code, _ = picture("dream_zoom", *net, "--image", photo(tmp_path / "a.png"), *words, "--out", out)
    assert code == 0
    with Image.open(out) as file:
        assert file.n_frames == 3  # type: ignore[attr-defined]
        assert file.size == (24, 20)


def test_a_method_without_a_network(tmp_path: Path) -> None:
    out = tmp_path / "texture.png"
    code, _ = picture("wei_levoy", "--image", photo(tmp_path / "a.png"), "--size", "16x18", "--out", out)
    assert code == 0
    with Image.open(out) as file:
        assert file.size == (18, 16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dreem", "--out", "a.png"], "did you mean 'dream'"),
        (["dream", "--out", "a.png"], "dream needs --model"),
        (["dream", "--out", "a.jpg"], r"--out must end in .png, .gif, .mp4, got a.jpg"),
        (["wei_levoy", "--out", "a.png"], "wei_levoy needs --image"),
        (["wei_levoy", "--image", "nowhere.png", "--out", "a.png"], "there is no such file"),
        (["wei_levoy", "--size", "4x", "--out", "a.png"], "--size must be a side or HxW"),
        (["dream", "--model", "small_cnn", "--dataset", "digits", "--out", "a.png"], "has no weights"),
    ],
)
def test_mistakes_are_told(words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = picture(*words)
    assert code == 2
    assert re.search(message, output), output
    assert list(tmp_path.iterdir()) == []


def test_parameters_are_checked_against_the_signature(tmp_path: Path) -> None:
    dream = SYNTHESES["dream"]
    materials = Materials(model=pooled_net(), image=torch.rand(1, 3, 16, 16))
    assert arguments_of(dream, materials, {"octaves": 2})["octaves"] == 2
    with pytest.raises(ConfigError, match="no parameter 'octave'; did you mean 'octaves'"):
        arguments_of(dream, materials, {"octave": 2})
    with pytest.raises(ConfigError, match=r"dream.octaves must be an integer"):
        arguments_of(dream, materials, {"octaves": "many"})
    with pytest.raises(ConfigError, match="dream has no use for --style"):
        arguments_of(dream, Materials(model=pooled_net(), styles=(torch.rand(1, 3, 8, 8),)), {})


def test_every_synthesis_can_be_asked_for() -> None:
    """Each argument without a default is one that the command has an option for."""
    for entry in SYNTHESES:
        for name, parameter in inspect.signature(entry.function).parameters.items():
            if parameter.default is parameter.empty and name != "draws":
                assert name in PLACES, f"{entry.name}: no option gives {name!r}"


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    materials = Materials(model=pooled_net(), target="class:1", shape=(3, 12, 12))
    asked = Asked("visualize", materials, {"steps": 9}, 0, 1, "words")
    whole = make("visualize", materials, {"steps": 9}, seed=0)
    monkeypatch.setattr("advbench.synthesis.file_journal.FileJournal.due", lambda self, step: True)
    steps: list[int] = []

    def kill(name: str, images: torch.Tensor) -> None:
        steps.append(int(name[-4:]))
        if len(steps) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_picture(asked, tmp_path / "a.png", every=1, preview=kill)
    other = Asked("visualize", materials, {"steps": 8}, 0, 1, "words")
    with pytest.raises(ConfigError, match="holds another run"):
        run_picture(other, tmp_path / "a.png")
    again = run_picture(asked, tmp_path / "a.png", every=1, preview=kill)
    assert torch.equal(again, whole)
    assert steps == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert not (tmp_path / "a.png.run").exists()


def test_a_sheet_holds_every_picture_once() -> None:
    frames = [np.full((4, 6, 3), 10 * i, dtype=np.uint8) for i in range(11)]
    whole = sheet(frames)
    values, counts = np.unique(whole[..., 0], return_counts=True)
    assert {int(v): int(c) for v, c in zip(values, counts, strict=True) if v != 255} == {10 * i: 24 for i in range(11)}
    assert sheet(frames[:1]) is frames[0]
