"""timm is optional: without it the extra is named; with it, the request is passed on."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from advbench.models.load import load_model
from advbench.types import ConfigError


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_a_missing_timm_names_its_extra() -> None:
    with pytest.raises(ConfigError, match=r"timm is not installed.*pip install 'advbench\[timm\]'"):
        load_model("timm:resnet18")


@pytest.fixture
def fake_timm(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A stand-in with timm's four functions used here; records what create_model is asked for."""
    asked: list[dict[str, object]] = []

    def create_model(name: str, pretrained: bool, num_classes: int, in_chans: int) -> nn.Module:
        asked.append({"name": name, "pretrained": pretrained, "num_classes": num_classes, "in_chans": in_chans})
        net = nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))
        net.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3}  # type: ignore[assignment]
        return net

    module = ModuleType("timm")
    module.__dict__.update(
        create_model=create_model,
        list_models=lambda: ["resnet18"],
        is_model_pretrained=lambda name: name in ("resnet18", "resnet18.a1_in1k"),
        get_pretrained_cfg=lambda name: SimpleNamespace(num_classes=1000),
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return asked


def test_a_tag_becomes_part_of_the_name(fake_timm: list[dict[str, object]]) -> None:
    model = load_model("timm:resnet18@a1_in1k")
    assert fake_timm == [{"name": "resnet18.a1_in1k", "pretrained": True, "num_classes": 1000, "in_chans": 3}]
    torch.testing.assert_close(model.get_submodule("normalize")(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 2.0))


def test_one_channel_is_normalised_by_the_first_constant(fake_timm: list[dict[str, object]]) -> None:
    model = load_model("timm:resnet18", dataset="mnist")
    assert fake_timm == [{"name": "resnet18", "pretrained": False, "num_classes": 10, "in_chans": 1}]
    assert model(torch.ones(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.usefixtures("fake_timm")
@pytest.mark.parametrize(
    ("spec", "dataset", "message"),
    [
        ("timm:resnet81", None, "no network 'resnet81'; did you mean 'resnet18'"),
        ("timm:resnet18@a9", None, "no weights 'a9'"),
        ("timm:resnet18@DEFAULT", "cifar10", "knows 1000 classes, the data has 10"),
    ],
)
def test_what_timm_does_not_have_is_refused(spec: str, dataset: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_model(spec, dataset=dataset)
