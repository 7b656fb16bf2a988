"""Specs, sizes and parameters: what a request means, and what is refused before anything is built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from advbench.models.load import comes_trained, load_model
from advbench.models.spec import Spec, parse_spec
from advbench.models.weights import weights_hash
from advbench.types import ConfigError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("small_cnn", Spec("small_cnn")),
        ("lenet5@w.pt", Spec("lenet5", weights="w.pt")),
        ("torchvision:resnet18@IMAGENET1K_V1", Spec("torchvision", "resnet18", "IMAGENET1K_V1")),
        ("sequential:a/b.json#net-0.3", Spec("sequential", "a/b.json", entry="net-0.3")),
        ("sequential:b.json@w.pt#net", Spec("sequential", "b.json", "w.pt", "net")),
        ("python:package.module:function", Spec("python", "package.module:function")),
    ],
)
def test_a_spec_is_read_and_written_alike(text: str, spec: Spec) -> None:
    assert parse_spec(text) == spec
    assert str(spec) == text


@pytest.mark.parametrize("text", ["", ":a", "a@", "a#", "a:b#c#d", "a b"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a model is written"):
        parse_spec(text)


def test_the_dataset_gives_the_sizes() -> None:
    assert load_model("linear", dataset="mnist")[1].weight.shape == (10, 784)  # type: ignore[index]
    assert load_model("linear", shape=(1, 2, 3), classes=4)[1].weight.shape == (4, 6)  # type: ignore[index]


REFUSED = {
    "unknown name": (("smallcnn",), {"dataset": "mnist"}, "did you mean 'small_cnn'"),
    "no sizes": (("linear",), {}, "needs the shape of its data: give dataset="),
    "sizes not fixed": (("linear",), {"dataset": "npz:a.npz"}, "'npz:a.npz' does not fix it"),
    "unknown dataset": (("linear",), {"dataset": "minst"}, "did you mean 'mnist'"),
    "flat shape": (("linear",), {"shape": (4, 4), "classes": 2}, r"shape must be \(C, H, W\)"),
    "no classes": (
        ("linear",),
        {"shape": (1, 4, 4), "classes": -1},
        "classes must be a whole number of at least 1, got -1",
    ),
    "classes as text": (("linear",), {"shape": (1, 4, 4), "classes": "3"}, "classes must be a whole number"),
    "broken sides": (("linear",), {"shape": (1, 4.5, 4), "classes": 3}, r"shape must be \(C, H, W\), whole numbers"),
    "one side": (("linear",), {"shape": 8, "classes": 3}, r"shape must be \(C, H, W\)"),
    "no spec": ((None,), {}, "spec must be a word, got None"),
    "seed": (("linear",), {"dataset": "mnist", "seed": "a"}, "seed must be a whole number >= 0, got 'a'"),
    "a list of parameters": (("mlp",), {"dataset": "mnist", "params": [1]}, "params must be Mapping or None"),
    "unknown parameter": (("mlp",), {"dataset": "mnist", "params": {"widht": 3}}, "did you mean 'width'"),
    "no parameters": (("linear",), {"dataset": "mnist", "params": {"width": 3}}, "Its parameters: none"),
    "ill-typed": (("mlp",), {"dataset": "mnist", "params": {"width": "3"}}, "width must be of type int, got '3'"),
    "truth is no number": (("mlp",), {"dataset": "mnist", "params": {"width": True}}, "must be of type int"),
    "zero width": (("mlp",), {"dataset": "mnist", "params": {"width": 0}}, "width must be at least 1"),
    "odd depth": (("wide_resnet",), {"dataset": "cifar10", "params": {"depth": 20}}, "depth must be 6 n"),
    "tiny image": (("lenet5",), {"shape": (1, 3, 3), "classes": 2}, "at least 4 x 4"),
    "argument for none": (("linear:8",), {"dataset": "mnist"}, "takes nothing behind the colon"),
    "entry for none": (("linear#a",), {"dataset": "mnist"}, "has no entries"),
    "argument missing": (("torchvision",), {}, "needs 'name': write torchvision:NAME"),
    "weights by name": (("linear@IMAGENET1K_V1",), {"dataset": "mnist"}, "knows no weights named"),
    "weights twice": (("linear@a.pt",), {"dataset": "mnist", "weights": "b.pt"}, "more than once: b.pt, a.pt"),
    "no such weights": (("linear@a.pt",), {"dataset": "mnist"}, "no such file"),
    "code": (("python:os:getcwd",), {}, "allow that with --allow-code"),
    "code by a parameter": (("python:os:getcwd",), {"params": {"allow_code": True}}, "has no parameter 'allow_code'"),
}


@pytest.mark.parametrize(("spec", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_a_senseless_request_is_refused(spec: tuple[str], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_model(spec[0], **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["spec", "argument", "parameter"])
def test_weights_may_be_named_in_each_place(way: str, tmp_path: Path) -> None:
    donor = load_model("linear", dataset="digits", seed=7)
    path = tmp_path / "w.safetensors"
    save_file(donor.state_dict(), path)
    model = {
        "spec": lambda: load_model(f"linear@{path}", dataset="digits"),
        "argument": lambda: load_model("linear", dataset="digits", weights=path),
        "parameter": lambda: load_model("linear", dataset="digits", params={"weights": str(path)}),
    }[way]()
    assert weights_hash(model) == weights_hash(donor)


@pytest.mark.parametrize(
    ("spec", "weights", "trained"),
    [
        ("small_cnn", None, False),
        ("small_cnn", "none", False),
        ("small_cnn", "w.pt", True),
        ("small_cnn@w.pt", None, True),
        ("torchvision:resnet18", None, False),
        ("torchvision:resnet18@DEFAULT", None, True),
        ("python:module:function", None, True),
    ],
)
def test_who_comes_trained(spec: str, weights: str | None, trained: bool) -> None:
    assert comes_trained(spec, weights=weights) is trained


MODULE = """
from torch import nn
made = []
def net():
    made.append(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
def text():
    return "no module"
number = 3
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "module_of_a_user"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_function_of_the_user_runs_only_if_allowed(user_module: str) -> None:
    with pytest.raises(ConfigError, match="allow-code"):
        load_model(f"python:{user_module}:net")
    assert user_module not in sys.modules
    model = load_model(f"python:{user_module}:net", allow_code=True)
    assert isinstance(model, nn.Module)
    assert model(torch.zeros(2, 1, 2, 2)).shape == (2, 3)
    sys.modules.pop(user_module)


@pytest.mark.parametrize(
    ("function", "message"),
    [("nett", "cannot be found"), ("text", "must return an nn.Module"), ("number", "is no function but int")],
)
def test_a_wrong_function_of_the_user_is_refused(user_module: str, function: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_model(f"python:{user_module}:{function}", allow_code=True)
    sys.modules.pop(user_module)


def test_an_unknown_torchvision_network_is_refused_before_anything_is_built() -> None:
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        comes_trained("torchvision:resnet8")


def test_weights_for_other_images_say_what_the_model_was_built_for(tmp_path: Path) -> None:
    file = tmp_path / "grey.safetensors"
    save_file(load_model("small_cnn", shape=(1, 8, 8), classes=4).state_dict(), file)
    with pytest.raises(ConfigError, match=r"the model wants .* \(built for images \(3, 8, 8\), classes 4\)"):
        load_model("small_cnn", shape=(3, 8, 8), classes=4, weights=file)
