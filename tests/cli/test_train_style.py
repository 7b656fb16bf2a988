"""`advbench train-style`: from photographs and styles to a file that `picture` paints with; mistakes told first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from advbench.bench import style_training
from advbench.bench.picture_sources import read_network
from advbench.cli import cli
from advbench.models.load import load_model
from advbench.store import write_tensors
from advbench.synthesis.feed_forward.adaptive import Adaptive, train_adaptive
from advbench.synthesis.feed_forward.networks import TransformNet
from advbench.types import ConfigError


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two photographs, a style and the weights of a short VGG-19."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in ("photos/a.png", "photos/b.png", "style.png"):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / name)
    short = load_model("vgg19_features", params={"last": "relu2_1"})
    write_tensors(tmp_path / "vgg.safetensors", short.state_dict())
    return tmp_path


def train(files: Path, *words: str, kind: str = "transform") -> tuple[int, str]:
    common = ["--images", "photos", "--steps", "2", "--batch", "1", "--side", "16", "--weights", "vgg.safetensors"]
    kind = "norms" if words[-1].endswith(".png") else kind
    result = CliRunner().invoke(cli, ["train-style", kind, *words, *common])
    if isinstance(result.exception, ConfigError):
        return 2, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.slow
def test_a_network_is_trained_and_paints(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    judge = ["--model", "vgg19_features", "--model-param", "last=relu2_1"]
    code, output = train(files, *judge, "--style", "style.png", "--style", "photos/b.png", "--out", "net.safetensors")
    assert code == 0, output
    network = read_network(files / "net.safetensors")
    assert isinstance(network, TransformNet)
    assert network.styles == 2
    assert len((files / "net.csv").read_text().splitlines()) == 3  # a head and two steps
    paint = ["--network", "net.safetensors", "--image", "photos/a.png", "--vary", "mix=[1,0],[0,1]"]
    assert CliRunner().invoke(cli, ["picture", "fast_style", *paint, "--out", "strip.png"]).exit_code == 0


@pytest.mark.slow
def test_every_tenth_photograph_is_kept_apart_and_tells(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    for number in range(10):
        (files / "photos" / f"more{number}.png").write_bytes((files / "photos/a.png").read_bytes())
    judge = ["--model", "vgg19_features", "--model-param", "last=relu2_1"]
    code, output = train(files, *judge, "--style", "style.png", "--style", "photos/b.png", "--out", "net.safetensors")
    assert code == 0, output
    assert [line.partition(":")[0] for line in output.splitlines() if line.startswith("loss")] == [
        "loss on 1 photograph kept apart, style.png",
        "loss on 1 photograph kept apart, b.png",
    ]


@pytest.mark.slow
def test_norms_are_compared_in_a_figure(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    judge = ["--model", "vgg19_features", "--model-param", "last=relu2_1"]
    code, output = train(files, *judge, "--style", "style.png", "--out", "norms.png")
    assert code == 0, output
    with Image.open("norms.png") as figure:
        assert min(figure.size) > 300
    table = pd.read_csv("norms.csv")
    assert len(table) == 3 * 2 * 2  # inputs, norms, steps
    assert set(table["norm"]) == {"instance", "batch"}


@pytest.mark.parametrize(
    ("kind", "option", "message"),
    [
        ("transform", ["--layer", "relu1_1"], "train-style transform takes no --layer; it is of adaptive, contrastive"),
        ("adaptive", ["--norm", "batch"], "train-style adaptive takes no --norm; it is of transform"),
        ("contrastive", ["--norm", "instance"], "train-style contrastive takes no --norm"),
        ("norms", ["--layer", "relu1_1"], "train-style norms takes no --layer"),
        ("norms", ["--norm", "batch"], "train-style norms takes no --norm"),
    ],
)
def test_an_option_that_a_kind_has_no_use_for_is_refused(
    kind: str, option: list[str], message: str, tmp_path: Path
) -> None:
    asked = [kind, "--model", "vgg19_features", "--style", "a.png", "--images", ".", "--out", str(tmp_path / "x.png")]
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(cli, ["train-style", *asked, *option], catch_exceptions=False)


@pytest.mark.slow
@pytest.mark.parametrize(("styles", "used"), [(1, (10, 1)), (10, (9, 9))])
def test_adaptive_keeps_photographs_apart_where_it_can_measure_on_them(
    styles: int, used: tuple[int, int], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    for number in range(8):
        (files / "photos" / f"more{number}.png").write_bytes((files / "photos/a.png").read_bytes())
    sizes = list[tuple[int, int]]()

    def watched(model: nn.Module, photos: Tensor, styles: Tensor, *args: Any, **named: Any) -> Adaptive:
        sizes.append((len(photos), len(styles)))
        return train_adaptive(model, photos, styles, *args, **named)

    monkeypatch.setattr(style_training, "train_adaptive", watched)
    judge = ["--model", "vgg19_features", "--model-param", "last=relu2_1"]
    code, output = train(files, *judge, *["--style", "style.png"] * styles, "--out", "net.safetensors", kind="adaptive")
    assert code == 0, output
    assert sizes == [used]
    assert ("on 1 photograph kept apart, styles not seen" in output) == (styles == 10)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model-param", "last=relu2_1", "--out", "net.safetensors"], "needs --style or --styles"),
        (["--model-param", "last=relu2_1", "--style", "style.png", "--out", "net.pt"], "must end in .safetensors"),
        (["--model-param", "end=relu2_1", "--style", "style.png", "--out", "n.safetensors"], "no parameter 'end'"),
        (
            ["--model-param", "last", "--style", "style.png", "--out", "n.safetensors"],
            "--model-param: expected KEY=VAL",
        ),
        (
            ["--model-param", "last=relu2_1", "--style", "style.png", "--style", "photos/a.png", "--out", "norms.png"],
            "for one style, 2 are given",
        ),
        (["--style", "style.png", "--out", "n.safetensors"], "vgg.safetensors"),  # made for a shorter network
    ],
)
def test_mistakes_are_told(files: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    monkeypatch.chdir(files)
    code, output = train(files, "--model", "vgg19_features", *words)
    assert code == 2
    assert message in output
    assert not list(files.glob("n*.safetensors"))
