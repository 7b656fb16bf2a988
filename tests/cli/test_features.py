"""`advbench features`: every view makes its picture from real files, and mistakes are told before any work."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from matplotlib import image as reader
from safetensors.torch import save_file

from advbench import load_model
from advbench.cli import cli
from advbench.cli.feature_views import numbers
from advbench.core.receptive_field import Box
from advbench.features.patches import Patches
from advbench.report.feature_moves import Move, write_moves
from advbench.report.feature_sheets import Words
from advbench.report.feature_strips import write_cutouts, write_patches
from advbench.types import ConfigError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small net; for a picture it does not matter how good they are."""
    file = tmp_path_factory.mktemp("net") / "net.safetensors"
    save_file(load_model("small_cnn", dataset="digits", seed=3).state_dict(), file)
    return file


VIEWS = {
    "filters": ["--scale", "global"],
    "filters deep": ["--layer", "2"],
    "activations": ["--queries", "3", "--layer", "2", "--channels", "0-5"],
    "patches": ["--layer", "2", "--count", "4"],
    "patches optimised": ["--layer", "2", "--channels", "3", "--count", "2", "--optimised"],
    "top9": ["--layer", "2", "--channels", "1,4", "--count", "3"],
    "neighbours": ["--metric", "cosine", "--count", "3"],
    "pca": [],
    "pca attacked": ["--attack", "fgsm", "--eps", "0.1", "--samples", "60"],
}


def words(weights: Path, view: str) -> list[str]:
    return [view, "--model", "small_cnn", "--weights", str(weights), "--dataset", "digits", "--samples", "20"]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_drawn(view: str, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "view.png"
    asked = [*words(weights, view.split(maxsplit=1)[0]), *VIEWS[view], "--out", str(out)]
    ended = CliRunner().invoke(cli, ["features", *asked], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    height, width, _ = reader.imread(out).shape
    assert height > 300
    assert width > 500


@pytest.mark.slow
@pytest.mark.parametrize("view", ["tsne", "compare", "evolution"])
def test_a_slow_view_is_drawn(view: str, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "view.png"
    asked = words(weights, view)
    if view == "evolution":
        asked = ["evolution", "--model", "small_cnn", "--dataset", "digits", "--epochs", "2", "--channels", "1"]
    ended = CliRunner().invoke(cli, ["features", *asked, "--out", str(out)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert reader.imread(out).shape[1] > 500


def test_a_folder_of_pictures_without_labels_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        reader.imsave(folder / f"{i}.png", torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(i)).numpy())
    net = tmp_path / "net.safetensors"
    save_file(load_model("small_cnn", shape=(3, 32, 32), classes=1000).state_dict(), net)
    out = tmp_path / "patches.png"
    asked = ["--model", "small_cnn", "--weights", str(net), "--images", str(folder), "--size", "32", "--channels", "0"]
    ended = CliRunner().invoke(cli, ["features", "patches", *asked, "--out", str(out)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert out.is_file()


def test_layers_are_printed_without_weights_or_picture() -> None:
    asked = ["features", "layers", "--model", "small_cnn", "--dataset", "digits"]
    ended = CliRunner().invoke(cli, asked, catch_exceptions=False)
    lines = [line.split() for line in ended.output.splitlines()]
    assert lines[0] == ["layer", "type", "output", "field", "stride"]
    assert lines[1][:2] == ["0", "Conv2d"]
    assert "32 x 4 x 4  4 x 4    2 x 2" in ended.output


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["filters", "--perplexity", "5"], "filters takes no --perplexity"),
        (["patches", "--layer", "2", "--channels", "99"], "no channel 99"),
        (["patches", "--layer", "22"], "no layer named '22'"),
        (["patches", "--channels", "a-b"], "whole numbers and ranges"),
        (["neighbours", "--queries", "20"], r"the images are 0 \.\. 19"),
        (["activations", "--queries", "3,20"], r"--queries 20: the images are 0 \.\. 19"),
        (["activations", "--queries", "5-3"], "--queries 5-3: the range 5-3 holds nothing"),
        (["pca", "--images", "."], "not both"),
        (["pca", "--attack", "fgsm"], "--attack needs --eps"),
        (["tsne", "--norm", "2"], "need --attack"),
        (["filters", "--attack", "fgsm", "--eps", "0.1"], "takes no --attack"),
        (["pca", "--attack", "fgms", "--eps", "0.1"], "fgsm"),
        (["evolution"], "trains the model itself"),
    ],
)
def test_mistakes_are_told(extra: list[str], message: str, weights: Path, tmp_path: Path) -> None:
    asked = [*words(weights, extra[0]), *extra[1:], "--out", str(tmp_path / "x.png")]
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(cli, ["features", *asked], catch_exceptions=False)
    assert not (tmp_path / "x.png").exists()


def test_an_untrained_net_and_a_missing_picture_are_refused(tmp_path: Path) -> None:
    asked = ["features", "filters", "--model", "small_cnn", "--dataset", "digits"]
    with pytest.raises(ConfigError, match="has no weights"):
        CliRunner().invoke(cli, [*asked, "--out", str(tmp_path / "x.png")], catch_exceptions=False)
    with pytest.raises(ConfigError, match="needs --out"):
        CliRunner().invoke(cli, asked, catch_exceptions=False)


@pytest.mark.parametrize("classes", [3, 12])
def test_arrows_lead_from_the_clean_to_the_moved_places(classes: int, tmp_path: Path) -> None:
    start, labels = torch.rand(24, 2), torch.arange(24) % classes
    moves = [Move(name, start + far, (labels + found) % classes) for name, far, found in (("a", 1.0, 1), ("b", 0.1, 0))]
    names = [f"class {kind}" for kind in range(classes)]
    out = tmp_path / "moves.png"
    write_moves(out, start, labels, moves, names=names, axes_names=("one", "two"), words=Words("title", "caption"))
    assert reader.imread(out).shape[1] > 1000


@pytest.fixture
def colour_net(tmp_path: Path) -> list[str]:
    """Words that name a net for 32 x 32 colour images, and a folder with two of them."""
    folder, net = tmp_path / "photos", tmp_path / "net.safetensors"
    folder.mkdir()
    for i in range(2):
        reader.imsave(folder / f"{i}.png", torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(i)).numpy())
    save_file(load_model("small_cnn", shape=(3, 32, 32), classes=1000).state_dict(), net)
    return ["--model", "small_cnn", "--weights", str(net), "--images", str(folder), "--size", "32"]


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="needs the extra opencv")
def test_objects_are_cut_out(colour_net: list[str], tmp_path: Path) -> None:
    out = tmp_path / "cut.png"
    ended = CliRunner().invoke(cli, ["features", "grabcut", *colour_net, "--out", str(out)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert reader.imread(out).shape[0] > 500


@pytest.mark.skipif(importlib.util.find_spec("cv2") is not None, reason="opencv is there")
def test_without_opencv_the_command_says_what_to_install(colour_net: list[str], tmp_path: Path) -> None:
    asked = ["features", "grabcut", *colour_net, "--out", str(tmp_path / "cut.png")]
    with pytest.raises(ConfigError, match=r"advbench\[opencv\]"):
        CliRunner().invoke(cli, asked, catch_exceptions=False)


def test_cut_out_objects_are_drawn_beside_what_they_were_cut_from(tmp_path: Path) -> None:
    images, masks = torch.rand(2, 3, 20, 30), torch.zeros(2, 20, 30, dtype=torch.bool)
    masks[:, 5:10, 5:20] = True
    heat, out = torch.rand(2, 20, 30), tmp_path / "cut.png"
    write_cutouts(out, list(images), list(heat), list(masks), names=["a", "b"], words=Words("title", "caption"))
    height, width, _ = reader.imread(out).shape
    assert height > 600
    assert width > 900


def test_numbers_and_ranges() -> None:
    assert numbers("3,17,40-42, 3", "--channels") == (3, 17, 40, 41, 42)
    assert numbers(None, "--channels") == ()


def test_help_does_not_load_torch() -> None:
    code = "import sys; from advbench.cli.features import features; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_optimised_image_stands_beside_the_patches(tmp_path: Path) -> None:
    one = torch.zeros(1, 2, dtype=torch.int64)
    found = Patches("layer", torch.tensor([5]), torch.tensor([[8, 9]]), one, one, torch.tensor([[2.0, 1.0]]))
    boxes = [[Box(0, 0, 8, 8), Box(0, 0, 8, 5)]]
    crops = [[torch.rand(3, 8, 8), torch.rand(3, 8, 5)]]
    sizes = []
    for optimised in (None, [torch.rand(3, 30, 30)]):
        out = tmp_path / "strip.png"
        write_patches(out, found, crops, boxes, Words("title", "caption"), optimised=optimised, projections=crops)
        sizes.append(reader.imread(out).shape[1])
    assert sizes[1] > sizes[0]
