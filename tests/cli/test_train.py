"""The command: what it writes, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from advbench.cli.train import train
from advbench.defenses.curve import Curve
from advbench.models.load import load_model
from advbench.types import ConfigError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(train, ["small_cnn", "--dataset", "digits", "--device", "cpu", *arguments])


@pytest.mark.slow
def test_weights_curve_and_picture_are_written(tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    options = ["--defense", "adversarial", "--eps", "1/10", "--epochs", "2", "--param", "steps=2"]
    result = run(*options, "--param", "lr=0.01", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net.curve.json",
        "net.curve.png",
        "net.safetensors",
    ]
    load_model("small_cnn", dataset="digits", weights=out)
    stored = json.loads((tmp_path / "net.curve.json").read_text())
    assert len(Curve.from_json(stored).epochs) == 2
    assert stored["recipe"]["params"] == {"steps": 2, "relative_step": 2.5}
    assert (stored["recipe"]["norm"], stored["recipe"]["eps"]) == ("linf", "1/10")
    assert stored["recipe"]["training"]["lr"] == 0.01
    with Image.open(tmp_path / "net.curve.png") as picture:
        assert picture.size[0] > 2 * picture.size[1]
    assert "net.safetensors" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--defense", "adverserial", "--eps", "0.1"], "^no defense named 'adverserial'; did you mean 'adversarial'"),
        (["--defense", "adversarial"], "adversarial needs --eps, the radius to train against"),
        (["--defense", "pgd", "--eps", "0.1"], "^'pgd' is an attack, not a defense: see advbench show attack pgd"),
        (["--param", "lr=many"], "^lr must be a number, got 'many'"),
        (["--defense", "adversarial", "--eps", "0.1", "--param", "stepz=3"], "'stepz'; did you mean 'steps'"),
        (["--defense", "adversarial", "--eps", "0.1", "--param", "steps=a"], "steps must be an integer"),
        (["--defense", "adversarial", "--eps", "0.1", "--param", "steps=[1, 2]"], "not a list"),
        (["--defense", "adversarial", "--eps", "8"], r"did you mean 8/255"),
        (["--eps", "0.1"], "none has no parameter 'eps'"),
        (["--param", "lr"], "expected KEY=VALUE"),
        (["--param", "lr=-1"], "training.lr must be a number > 0"),
        (["--train-data", "npz:missing.npz"], "missing.npz"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(options: list[str], message: str, tmp_path: Path) -> None:
    result = run(*options, "--out", str(tmp_path / "net.safetensors"))
    assert isinstance(result.exception, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise result.exception
    assert list(tmp_path.iterdir()) == []


def test_the_weights_are_safetensors(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "net.pt"))
    assert isinstance(result.exception, ConfigError)
    assert "must end in .safetensors" in str(result.exception)


def test_the_help_ends_in_an_example() -> None:
    result = run("--help")
    assert "Example: advbench train small_cnn" in result.output
