"""Heat maps from the command line and from Python: the picture is there, says what it shows, and mistakes are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from advbench import explain, load_model, load_samples
from advbench.cli import cli
from advbench.core.gradients import class_gradient
from advbench.types import ConfigError


@pytest.fixture
def net(tmp_path: Path) -> list[str]:
    """A small net as words of the command; for a heat map it does not matter how good its weights are."""
    file = tmp_path / "net.safetensors"
    save_file(load_model("small_cnn", dataset="digits", seed=3).state_dict(), file)
    return ["--model", "small_cnn", "--weights", str(file)]


def run(*words: str) -> Result:
    ended = CliRunner().invoke(cli, ["explain", *words], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended


@pytest.mark.parametrize("method", ["saliency", "grad_cam", "gradient,occlusion"])
def test_a_picture_of_samples(method: str, net: list[str], tmp_path: Path) -> None:
    out = tmp_path / "heat.png"
    ended = run(method, *net, "--dataset", "digits", "--samples", "2", "--out", str(out))
    assert f"wrote {out}" in ended.output
    with Image.open(out) as picture:
        assert picture.width > 500
        assert picture.height > 250
        said = dict(picture.info)
    assert said["Command"].startswith(f"advbench explain {method} --model small_cnn")
    assert said["Seed"] == "0"
    assert "torch" in said["Versions"]
    assert "99th percentile" in said["Caption"]
    assert "raw score of the class" in said["Caption"]
    assert "Image 2, " in said["Description"]
    assert said["Description"].count("centre of the evidence") + said["Description"].count("no evidence") >= 2


def test_a_box_says_where_the_object_is(net: list[str], tmp_path: Path) -> None:
    out = tmp_path / "heat.png"
    asked = ["--dataset", "digits", "--samples", "2", "--metrics", "--out", str(out)]
    run("saliency", *net, *asked, "--box", "0,0,1,1", "--box", "0.5,0,1,0.5")
    with Image.open(out) as picture:
        assert "on object: 1 energy 1.00" in picture.info["Description"]
    for boxes, message in (
        (["--box", "0,0,1,1"], "2 pictures, 1 boxes"),
        (["--box", "0,0,1", "--box", "0,0,1,1"], "four numbers"),
        (["--box", "0,0,1,1", "--box", "0.5,0,0.5,1"], "shares of the picture"),
    ):
        with pytest.raises(ConfigError, match=message):
            run("saliency", *net, *asked, *boxes)


def test_the_raw_maps_of_classes_and_targets(net: list[str], tmp_path: Path) -> None:
    out = tmp_path / "maps.npz"
    asked = ["--class", "3", "--class", "5", "--target", "class:3 - class:5"]
    run("gradient", *net, "--dataset", "digits", "--samples", "2", *asked, "--out", str(out))
    with np.load(out) as stored:
        assert stored["score"].tolist() == [text for text in ("class:3", "class:5", "class:3 - class:5") for _ in "ab"]
        assert stored["image"].tolist() == [0, 1] * 3
        assert set(stored["method"]) == {"gradient"}
        three, five, difference = (stored[f"map_{number}"] for number in (0, 2, 4))
    np.testing.assert_allclose(three - five, difference, atol=1e-5)
    x, _ = load_samples("digits", count=2)
    model = load_model("small_cnn", dataset="digits", seed=3)
    expected = explain("gradient", model, x, 3)[0].numpy()
    np.testing.assert_allclose(three, expected, atol=1e-5)


def test_pictures_of_a_folder_as_images_of_a_dataset(net: list[str], tmp_path: Path) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "heat.png"
    folder.mkdir()
    for shade in (40, 200):
        Image.new("RGB", (20, 30), (shade, 0, 0)).save(folder / f"{shade}.png")
    (folder / "notes.txt").write_text("no picture")
    run("saliency", *net, "--images", str(folder), "--classes-of", "digits", "--top", "3", "--out", str(out))
    with Image.open(out) as picture:
        assert "Image 2, " in picture.info["Description"]
        assert "Image 3, " not in picture.info["Description"]


def test_controls_and_metrics_stand_below_the_maps(net: list[str], tmp_path: Path) -> None:
    out = tmp_path / "heat.png"
    extra = ["--control", "--metrics", "--dataset", "digits", "--samples", "2"]
    run("gradient,integrated_gradients", *net, *extra, "--param", "nodes=4", "--param", "most=4", "--out", str(out))
    with Image.open(out) as picture:
        said = picture.info["Description"]
    for word in ("random weights", "shuffled", "likeness", "del. ", "ins. ", "sum off", "forgets: "):
        assert word in said


def test_a_second_net_beside_the_first(net: list[str], tmp_path: Path) -> None:
    out = tmp_path / "maps.npz"
    second = tmp_path / "other.safetensors"
    save_file(load_model("linear", dataset="digits", seed=1).state_dict(), second)
    words = [
        *net,
        "--model",
        "linear",
        "--weights",
        str(second),
        "--dataset",
        "digits",
        "--samples",
        "1",
        "--class",
        "3",
    ]
    run("gradient,gradient@2", *words, "--out", str(out))
    with np.load(out) as stored:
        weight = load_model("linear", dataset="digits", seed=1).state_dict()
        (matrix,) = (value for value in weight.values() if value.dim() == 2)
        np.testing.assert_allclose(stored["map_1"].ravel(), matrix[3], atol=1e-6)
        assert not np.allclose(stored["map_0"], stored["map_1"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["saliency", "--class", "12"], r"class 12: the classes are 0 \.\. 9"),
        (["saliency", "--class", "dog"], "no class 'dog'"),
        (["saliency", "--target", "prob:dog"], "no class 'dog'"),
        (["saliency", "--target", "x y z"], "neither class:N nor LAYER"),
        (["saliency", "--top", "11"], "there are 10 classes"),
        (["salience"], "did you mean 'saliency'"),
        (["saliency,"], "no attribution named ''"),
        (["saliency", "--param", "depth=3"], "no parameter 'depth'"),
        (["saliency", "--layer", "conv"], "no parameter 'layer'"),
        (["occlusion", "--param", "window=wide"], "occlusion.window must be an integer"),
        (["occlusion", "--param", "window"], "expected KEY=VALUE"),
        (["grad_cam", "--layer", "nowhere"], "no layer named 'nowhere'"),
        (["grad_cam", "--target", "foo"], "no layer named 'foo'"),
        (["saliency", "--target", "foo"], "a target is class:N, log_prob:N"),
        (["saliency@2"], r"1 \.\. 1, got '2'"),
        (["saliency", "--weights", "more.safetensors"], "2 --weights for 1 --model"),
        (["saliency", "--image", "a.png"], "either --image or --images FOLDER or --dataset"),
        (["saliency", "--classes-of", "mnist"], "--classes-of is for pictures"),
    ],
)
def test_mistakes_are_told(words: list[str], message: str, net: list[str], tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(
            cli, ["explain", *words, *net, "--dataset", "digits", "--out", str(out)], catch_exceptions=False
        )
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "small_cnn", "--dataset", "digits", "--out", "x.png"], "untrained net explains nothing"),
        (["--model", "small_cnn", "--dataset", "digits", "--out", "x.gif"], "must end in .png or .npz"),
        (["--model", "torchvision:resnet18@none", "--out", "x.png"], "untrained net explains nothing"),
    ],
)
def test_a_net_without_weights_and_a_strange_file_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(cli, ["explain", "saliency", *words], catch_exceptions=False)


def test_an_empty_folder_and_a_file_that_is_no_picture(net: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no picture in it"):
        run("saliency", *net, "--images", str(tmp_path / "empty"), "--out", str(tmp_path / "x.png"))
    with pytest.raises(ConfigError, match="there is no such file"):
        run("saliency", *net, "--image", str(tmp_path / "no.png"), "--out", str(tmp_path / "x.png"))


def test_a_device_that_is_not_there_is_named(net: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["gradient", *net, "--dataset", "digits", "--device", "cuda", "--out", str(tmp_path / "m.png")]
    with pytest.raises(ConfigError, match="no device 'cuda' here; there are: cpu, auto"):
        CliRunner().invoke(cli, ["explain", *words], catch_exceptions=False)


def test_in_python_it_is_the_registered_method() -> None:
    model = load_model("small_cnn", dataset="digits", seed=3)
    x, y = load_samples("digits", count=4)
    assert torch.allclose(explain("gradient", model, x, y), class_gradient(model, x, y))
    with pytest.raises(ConfigError, match="did you mean 'layer'"):
        explain("grad_cam", model, x, y, leyer="conv")
