"""`advbench picture`: pictures with their history, mistakes told before work starts, interrupted runs taken up."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advbench.bench.picture_advice import DEFAULT_MODELS, advice
from advbench.bench.picture_run import Asked, run_picture
from advbench.bench.picture_sources import Source, materials_of
from advbench.bench.picture_strip import Variation, read_variation, run_strip, varied
from advbench.bench.picturing import PLACES, Materials, arguments_of, make, sizes_itself
from advbench.cli import cli
from advbench.models.load import load_model
from advbench.registry import SYNTHESES
from advbench.report.picture_file import enlarged, sheet
from advbench.report.picture_strip import strip_of
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
        "visualize", *net, "--target", "class:2", "--size", "16", "--param", "steps=4", "--every", 2, "--out", out,
    )  # fmt: skip
    assert code == 0
    with Image.open(out) as file:
        assert file.size == (256, 256)
        assert file.text["True size"] == "16 x 16 pixels (H x W), each drawn as 16 x 16"  # type: ignore[attr-defined]
        assert "advbench picture visualize --model" in file.text["Command"]  # type: ignore[attr-defined]
        assert file.text["Seed"] == "0"  # type: ignore[attr-defined]
    previews = sorted(path.name for path in (tmp_path / "made.png.previews").iterdir())
    assert previews == ["phase-00-step-0000.png", "phase-00-step-0002.png"]
    assert not (tmp_path / "made.png.run").exists()


@given(st.integers(1, 300), st.integers(1, 300))
def test_small_pictures_become_large_enough_to_be_seen_and_nothing_else_changes(height: int, width: int) -> None:
    frame = np.random.default_rng(height).integers(0, 255, (height, width, 3), dtype=np.uint8)
    (larger,), facts = enlarged([frame], {"Seed": "0"})
    factor = larger.shape[0] // height
    assert larger.shape == (factor * height, factor * width, 3)
    assert np.array_equal(larger[factor // 2 :: factor, factor // 2 :: factor], frame)
    assert (factor == 1) == (max(height, width) >= 128) == (facts == {"Seed": "0"})
    assert max(larger.shape) >= 128
    assert max(larger.shape) < 512 or factor == 1


def test_only_the_file_is_enlarged_and_only_if_it_may_be(tmp_path: Path, net: list[str]) -> None:
    words = ["visualize", *net, "--target", "class:2", "--size", "16", "--param", "steps=2", "--count", 2]
    assert picture(*words, "--out", tmp_path / "large.png")[0] == 0
    assert picture(*words, "--true-size", "--out", tmp_path / "true.png")[0] == 0
    with Image.open(tmp_path / "large.png") as large, Image.open(tmp_path / "true.png") as true:
        assert (large.size, true.size) == ((516, 256), (36, 16))
        assert "True size" not in true.text  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(large)[8::16, 8:256:16], np.asarray(true)[:, :16])
        assert np.array_equal(np.asarray(large)[8::16, 268::16], np.asarray(true)[:, 20:])


def test_a_class_may_be_named(tmp_path: Path, net: list[str]) -> None:
    """In a target and in a strip of targets; without a dataset the names are ImageNet's."""
    names = np.array(["hen", "old owl", "crab", "eel"])
    np.savez(tmp_path / "named.npz", images=np.zeros((8, 16, 16, 3)), labels=np.arange(8) % 4, classes=names)
    words = ["visualize", *net[:2], "--dataset", f"npz:{tmp_path / 'named.npz'}", "--size", "16", "--param", "steps=2"]
    for target, file in (("class:old owl - 0.5 * prob:eel", "name.png"), ("class:1 - 0.5 * prob:3", "number.png")):
        assert picture(*words, "--target", target, "--out", tmp_path / file)[0] == 0
    with Image.open(tmp_path / "name.png") as name, Image.open(tmp_path / "number.png") as number:
        assert np.array_equal(np.asarray(name), np.asarray(number))
    assert picture(*words, "--vary", "target=class:hen,class:eel", "--out", tmp_path / "strip.png")[0] == 0
    code, output = picture(*words, "--target", "class:hem", "--out", tmp_path / "no.png")
    assert code == 2
    assert output == "target 'class:hem': no class 'hem'; did you mean 'hen'? A number from 0 .. 3 or a name"
    assert materials_of(Source(target="class:zebra"), torch.device("cpu")).target == "class:340"


def test_frames_become_a_film(tmp_path: Path, net: list[str]) -> None:
    out = tmp_path / "zoom.gif"
    words = ["--param", "frames=3", "--param", "steps=1", "--param", "octaves=1"]
    code, _ = picture("dream_zoom", *net, "--image", photo(tmp_path / "a.png"), *words, "--true-size", "--out", out)
    assert code == 0
    with Image.open(out) as file:
        assert file.n_frames == 3  # type: ignore[attr-defined]
        assert file.size == (24, 20)


def test_a_method_without_a_network(tmp_path: Path) -> None:
    out = tmp_path / "texture.png"
    code, _ = picture("wei_levoy", "--image", photo(tmp_path / "a.png"), "--size", "16x18", "--true-size", "--out", out)
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


def test_a_layer_beside_a_target_is_a_parameter() -> None:
    materials = Materials(model=pooled_net(), target="class:1", images=torch.rand(3, 3, 16, 16))
    found = arguments_of(SYNTHESES["multifaceted"], materials, {"layer": "0"})
    assert (found["target"], found["layer"]) == ("class:1", "0")
    assert "layer" not in arguments_of(SYNTHESES["multifaceted"], materials, {})


def test_a_network_for_images_of_one_size_says_so() -> None:
    materials = Materials(model=load_model("small_cnn", shape=(3, 16, 16), classes=4), image=torch.rand(1, 3, 20, 20))
    with pytest.raises(
        ConfigError, match=r"takes .* values and gets .*; give the size as --size, or a layer before that one"
    ):
        make("dream", replace(materials, target="class:1"), {"steps": 1, "octaves": 1}, seed=0)
    assert make("dream", replace(materials, target="0"), {"steps": 1, "octaves": 1}, seed=0).shape == (1, 3, 20, 20)


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


def test_a_strip_has_a_picture_for_each_value(tmp_path: Path, net: list[str]) -> None:
    out, alone = tmp_path / "strip.png", tmp_path / "alone.png"
    words = ["visualize", *net, "--size", "24", "--true-size", "--param", "steps=2"]
    assert picture(*words, "--vary", "target=class:1,class:2", "--count", 2, "--out", out)[0] == 0
    assert picture(*words, "--target", "class:2", "--out", alone)[0] == 0
    with Image.open(out) as strip, Image.open(alone) as one:
        assert strip.size == (196, 68)  # two columns of 96, a gap; a line of text, two pictures and the gap between
        second = strip.crop((100, 16, 124, 40))
        assert second.tobytes() == one.tobytes()
        assert strip.text["Description"].endswith("for each target, from the left: class:1, class:2")  # type: ignore[attr-defined]
        assert "--vary target=class:1,class:2" in strip.text["Command"]  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("steps=5,10", ("5", "10")),
        ("mix=[1,0],[0.5,0.5]", ("[1,0]", "[0.5,0.5]")),
        ("target=net.2:1@3,4, class:2", ("net.2:1@3,4", "class:2")),
    ],
)
def test_values_stand_apart_by_commas_outside_of_brackets(text: str, values: tuple[str, ...]) -> None:
    assert read_variation(text).values == values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vary", "steps"], "expected KEY=VALUE,VALUE,..., got 'steps'"),
        (["--vary", "steps=4"], "give 2 to 64 different values"),
        (["--vary", "steps=4,4"], "give 2 to 64 different values"),
        (["--vary", "steps=4,many"], "visualize.steps must be an integer"),
        (["--vary", "step=4,5"], "no parameter 'step'; did you mean 'steps'"),
        (["--vary", "target=class:1,class:9x"], "class:9x"),
        (["--vary", "target=class:1,class:2", "--target", "class:1"], "--vary target: --target is given as well"),
        (["--vary", "steps=4,5", "--param", "steps=3"], "--vary steps: --param steps is given as well"),
        (["--vary", "style=nowhere.png,b.png"], "there is no such file"),
    ],
)
def test_mistakes_in_a_strip_are_told_before_work_starts(
    words: list[str], message: str, tmp_path: Path, net: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advbench.bench.picture_strip.run_strip", lambda *_, **__: pytest.fail("work started"))
    target = [] if "target=" in words[1] and "--target" not in words else ["--target", "class:1"]
    out = tmp_path / "a.png"
    code, output = picture("visualize", *net, *dict.fromkeys(target), *words, "--out", out)
    assert code == 2
    assert re.search(message, output), output
    assert not out.exists()
    code, output = picture("visualize", *net, "--vary", "steps=1,2", "--out", tmp_path / "a.gif")
    assert (code, "must end in .png" in output) == (2, True)


def test_an_interrupted_strip_goes_on_at_the_value_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materials = Materials(model=pooled_net(), target="class:1", shape=(3, 12, 12))
    variation = Variation("step_size", ("0.01", "0.1", "0.2"))
    each = varied(Asked("visualize", materials, {"steps": 4}, 0, 1, "words"), variation, float)
    whole = [make("visualize", one.materials, one.params, seed=0) for one in each]
    seen: list[str] = []

    def kill(name: str, images: torch.Tensor) -> None:
        seen.append(name[:2])
        if len(seen) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr("advbench.synthesis.file_journal.FileJournal.due", lambda self, step: True)
    with pytest.raises(KeyboardInterrupt):
        run_strip(each, variation, tmp_path / "a.png", every=1, preview=kill)
    assert {path.name for path in (tmp_path / "a.png.run").iterdir()} == {"00", "01", "02"}
    again = run_strip(each, variation, tmp_path / "a.png", every=1, preview=kill)
    assert [one.label for one in again] == list(variation.values)
    assert all(torch.equal(one.images, image) for one, image in zip(again, whole, strict=True))
    assert seen == ["00"] * 4 + ["01"] * 2 + ["01"] * 3 + ["02"] * 4  # the first is not made again
    assert not (tmp_path / "a.png.run").exists()


def test_a_long_strip_goes_on_in_further_rows() -> None:
    picture = np.zeros((10, 300, 3), dtype=np.uint8)
    whole = strip_of([(f"value {i}", [picture]) for i in range(6)])
    assert whole.shape == (2 * 30 - 4, 3 * 304 - 4, 3)
    # Every picture is there once, each below its label, which has ink.
    rows = [whole[top : top + 30] for top in (0, 30)]
    assert all((row[16:26, left : left + 300] == 0).all() for row in rows for left in (0, 304, 608))
    assert all((row[:16, left : left + 300] < 128).any() for row in rows for left in (0, 304, 608))


def test_the_size_of_a_texture_is_not_that_of_its_sample(tmp_path: Path) -> None:
    out, sample = tmp_path / "a.png", photo(tmp_path / "s.png", 20, 24)
    known = Source(pictures=(sample,), size=(40, 48), only_made=sizes_itself(SYNTHESES["wei_levoy"]))
    materials = materials_of(known, torch.device("cpu"))
    assert materials.image is not None
    assert (materials.image.shape, materials.shape) == ((1, 3, 20, 24), (3, 40, 48))
    words = ["--image", sample, "--size", "28", "--true-size", "--param", "window=3"]
    assert picture("wei_levoy", *words, "--out", out)[0] == 0
    with Image.open(out) as file:
        assert file.size == (28, 28)


def test_a_decoder_is_trained_on_the_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advbench.bench.picturing.DECODER_STEPS", 3)
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    materials = Materials(model=pooled_net(), target="class:1", images=images)
    made = make("generator_prior", materials, {"steps": 2}, seed=0, count=2)
    assert made.shape == (2, 3, 16, 16)
    with pytest.raises(ConfigError, match="generator_prior needs --images"):
        make("generator_prior", Materials(model=pooled_net(), target="class:1"), {}, seed=0)


def test_a_model_takes_parameters(tmp_path: Path) -> None:
    write_tensors(tmp_path / "v.safetensors", load_model("vgg19_features", params={"last": "relu1_2"}).state_dict())
    words = ["dream", "--model", "vgg19_features", "--weights", tmp_path / "v.safetensors", "--target", "relu1_1"]
    short = ["--image", photo(tmp_path / "a.png"), "--param", "steps=1", "--param", "octaves=1"]
    out = tmp_path / "dream.png"
    assert picture(*words, "--model-param", "last=relu1_2", *short, "--out", out)[0] == 0
    code, output = picture(*words, "--model-param", "end=relu1_2", *short, "--out", out)
    assert (code, "no parameter 'end'" in output) == (2, True)
    code, output = picture("wei_levoy", "--model-param", "a=1", *short[:2], "--out", out)
    assert (code, "--model-param is a parameter of --model" in output) == (2, True)


def test_small_networks_and_residual_ones_are_told_apart_from_good_ones() -> None:
    assert "2 convolutions" in str(advice("visualize", pooled_net()))
    assert "vgg19" in str(advice("texture", pooled_net()))
    assert advice("fast_style", pooled_net()) is None
    resnet = load_model("torchvision:resnet18")
    assert "smooth=true" in str(advice("style", resnet))
    assert advice("dream", resnet) is None
    assert advice("style", load_model("vgg19_features")) is None


def test_texture_and_style_have_a_network_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all("vgg19@" in spec for spec in DEFAULT_MODELS.values())
    monkeypatch.setitem(DEFAULT_MODELS, "texture", "vgg19_features")
    code, output = picture("texture", "--image", photo(tmp_path / "a.png"), "--out", tmp_path / "b.png")
    assert (code, "vgg19_features has no weights" in output) == (2, True)
    code, output = picture("texture", "--out", tmp_path / "b.png")  # nothing is downloaded for an incomplete question
    assert (code, "texture needs --model" in output) == (2, True)


def test_a_sheet_holds_every_picture_once() -> None:
    frames = [np.full((4, 6, 3), 10 * i, dtype=np.uint8) for i in range(11)]
    whole = sheet(frames)
    values, counts = np.unique(whole[..., 0], return_counts=True)
    assert {int(v): int(c) for v, c in zip(values, counts, strict=True) if v != 255} == {10 * i: 24 for i in range(11)}
    assert sheet(frames[:1]) is frames[0]


def test_a_layer_whose_name_looks_like_a_number_stays_a_name(tmp_path: Path, net: list[str]) -> None:
    """1.10 is another layer than 1.1."""
    options = [*net, "--image", photo(tmp_path / "photo.png", 16, 16), "--param", "layer=1.10"]
    code, said = picture("inversion", *options, "--out", tmp_path / "made.png")
    assert code == 2
    assert "'1.10'" in said
