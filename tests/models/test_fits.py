"""A network that does not fit its data is refused on shapes alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from advbench.models.check import check_model
from advbench.models.fits import check_fits
from advbench.models.load import load_model
from advbench.registry import MODELS
from advbench.store import write_json, write_tensors
from advbench.types import ConfigError

SIZED = [
    entry.name
    for entry in MODELS
    if not any(own.default is own.empty for own in entry.parameters().values()) and not entry.name.startswith("vgg")
]


@pytest.mark.slow
@given(name=st.sampled_from(SIZED), side=st.sampled_from([4, 8, 28, 33]), channels=st.sampled_from([1, 3]))
def test_what_shapes_say_is_what_the_network_itself_says(name: str, side: int, channels: int) -> None:
    """The oracle: the network built in earnest and run on an image."""
    shape, classes, refused = (channels, side, side), 7, False
    try:
        model = load_model(name, shape=shape, classes=classes)
        check_model(model, torch.full((2, *shape), 0.5), classes)
    except ConfigError:
        refused = True
    if refused:
        with pytest.raises(ConfigError):
            check_fits(name, shape=shape, classes=classes, params={})
    else:
        check_fits(name, shape=shape, classes=classes, params={})


@pytest.mark.parametrize(
    ("shape", "classes", "params", "message"),
    [
        ((1, 32, 32), 10, {"name": "resnet18"}, "takes images with 3 channels, got 1"),
        ((3, 32, 32), 10, {"name": "alexnet"}, "does not take images"),
        ((3, 224, 224), 10, {"name": "resnet18", "weights": "IMAGENET1K_V1"}, "knows 1000 classes, the data has 10"),
        ((3, 224, 224), 1000, {"name": "resnet18", "weights": "IMAGENET1K_V9"}, "has no weights 'IMAGENET1K_V9'"),
    ],
)
def test_published_networks_are_asked_before_any_download(
    shape: tuple[int, int, int], classes: int, params: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_fits("torchvision", shape=shape, classes=classes, params=params)


def test_a_network_that_computes_while_it_is_built_is_built_in_earnest() -> None:
    check_fits("torchvision", shape=(3, 32, 32), classes=10, params={"name": "regnet_y_400mf", "weights": ""})


def test_weights_of_another_size_do_not_fit(tmp_path: Path) -> None:
    file = str(tmp_path / "w.safetensors")
    write_tensors(tmp_path / "w.safetensors", load_model("linear", shape=(1, 8, 8), classes=10).state_dict())
    check_fits("linear", shape=(1, 8, 8), classes=10, params={}, weights=file)
    with pytest.raises(ConfigError, match="has shape"):
        check_fits("linear", shape=(3, 8, 8), classes=10, params={}, weights=file)


def test_a_listed_network_is_compared_with_the_weights_that_it_names(tmp_path: Path) -> None:
    layers = [["flatten"], ["linear", 64, 10]]
    write_json(tmp_path / "nets.json", [{"name": "net", "layers": layers, "file": "w.safetensors"}])
    params = {"file": tmp_path / "nets.json", "entry": "net", "weights": ""}
    write_tensors(tmp_path / "w.safetensors", nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict())
    check_fits("sequential", shape=(1, 8, 8), classes=10, params=params)
    write_tensors(tmp_path / "w.safetensors", nn.Sequential(nn.Flatten(), nn.Linear(65, 10)).state_dict())
    with pytest.raises(ConfigError, match="has shape"):
        check_fits("sequential", shape=(1, 8, 8), classes=10, params=params)
    check_fits("sequential", shape=(1, 8, 8), classes=10, params=params | {"weights": "none"})


def test_timm_is_asked_for_the_name_when_the_request_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm is not needed for this: a stand-in lists one network."""

    class Timm:
        @staticmethod
        def list_models() -> list[str]:
            return ["resnet50"]

    monkeypatch.setattr("advbench.models.timm.import_extra", lambda package, extra: Timm)
    with pytest.raises(ConfigError, match="timm has no network 'resnet05'; did you mean 'resnet50'"):
        check_fits("timm", shape=(3, 8, 8), classes=10, params={"name": "resnet05"})
