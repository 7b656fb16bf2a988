"""Heat maps from the command line and from Python: the picture is there, and mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from matplotlib import image as reader
from safetensors.torch import save_file

from advbench import explain, load_model, load_samples
from advbench.cli import cli
from advbench.core.gradients import class_gradient
from advbench.types import ConfigError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a small net; for a heat map it does not matter how good they are."""
    file = tmp_path / "net.safetensors"
    save_file(load_model("small_cnn", dataset="digits", seed=3).state_dict(), file)
    return file


@pytest.mark.parametrize("method", ["saliency", "grad_cam"])
def test_a_picture_of_samples(method: str, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "heat.png"
    words = [method, "--model", "small_cnn", "--weights", str(weights), "--dataset", "digits", "--samples", "2"]
    ended = CliRunner().invoke(cli, ["explain", *words, "--out", str(out)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    height, width, _ = reader.imread(out).shape
    assert height > 400
    assert width > 800


def test_a_class_that_is_none_is_refused(weights: Path, tmp_path: Path) -> None:
    words = ["saliency", "--model", "small_cnn", "--weights", str(weights), "--dataset", "digits", "--class", "12"]
    with pytest.raises(ConfigError, match=r"classes are 0 \.\. 9"):
        CliRunner().invoke(cli, ["explain", *words, "--out", str(tmp_path / "x.png")], catch_exceptions=False)


def test_in_python_it_is_the_registered_method() -> None:
    model = load_model("small_cnn", dataset="digits", seed=3)
    x, y = load_samples("digits", count=4)
    assert torch.equal(explain("saliency", model, x, y), class_gradient(model, x, y))
    with pytest.raises(ConfigError, match="did you mean 'layer'"):
        explain("grad_cam", model, x, y, leyer="conv")
