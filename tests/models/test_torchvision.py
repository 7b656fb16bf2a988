"""torchvision's networks: with a weights file, a published photograph; without network, clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import SqueezeNet1_1_Weights, WeightsEnum

from advbench.datasets.images import read_image
from advbench.datasets.load import load_dataset, load_samples
from advbench.models.load import load_model
from advbench.models.torchvision import published_accuracy
from advbench.types import ConfigError


@pytest.fixture(scope="module")
def squeezenet(shared_data: Path) -> torch.nn.Module:
    file = shared_data / "imagenet_weights" / "squeezenet1_1_caffe.safetensors"
    return load_model("torchvision:squeezenet1_1", weights=file)


def test_squeezenet_knows_the_samoyed(squeezenet: torch.nn.Module, shared_data: Path) -> None:
    x = read_image(shared_data / "photos_hub" / "dog_258.jpg", size=224)[None]
    with torch.no_grad():
        probabilities = squeezenet(x).softmax(1)[0]
    assert probabilities.argmax() == 258
    assert probabilities[258].item() == pytest.approx(0.94, abs=0.01)  # data/README.md


@pytest.mark.slow
def test_squeezenet_has_its_accuracy_on_sixty_photographs(squeezenet: torch.nn.Module, shared_data: Path) -> None:
    x, y = load_samples(load_dataset(f"folder:{shared_data / 'photos_imagenet_samples'}#imagenet"))
    with torch.no_grad():
        assert (squeezenet(x).argmax(1) == y).sum().item() == pytest.approx(33, abs=1)  # data/README.md: 33 of 60


def test_published_accuracy_is_that_of_the_weights() -> None:
    assert published_accuracy("squeezenet1_1", "IMAGENET1K_V1") == pytest.approx(0.58178)


def test_named_weights_are_loaded_behind_their_own_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    donor = load_model("torchvision:squeezenet1_1", seed=9)
    state = donor.get_submodule("net").state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *args, **kwargs: state)
    model = load_model("torchvision:squeezenet1_1@IMAGENET1K_V1")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(getattr(SqueezeNet1_1_Weights.DEFAULT.transforms(), part)) for part in ("mean", "std"))
    by_hand = model.get_submodule("net")((x - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    torch.testing.assert_close(model(x), by_hand)
    torch.testing.assert_close(model(x), donor(x))


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: WeightsEnum, *args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    with pytest.raises(ConfigError, match=r"could not be downloaded from https://.*no route.*give its path as weights"):
        load_model("torchvision:squeezenet1_1@DEFAULT")


@pytest.mark.parametrize(
    ("spec", "sizes", "message"),
    [
        ("torchvision:resnet81", {}, "no classification network 'resnet81'; did you mean 'resnet18'"),
        ("torchvision:fcn_resnet50", {}, "no classification network"),
        ("torchvision:resnet18@IMAGENET1K_V7", {}, "has no weights 'IMAGENET1K_V7'; did you mean 'IMAGENET1K_V1'"),
        ("torchvision:resnet18@DEFAULT", {"dataset": "cifar10"}, "knows 1000 classes, the data has 10"),
        ("torchvision:resnet18", {"dataset": "mnist"}, "takes images with 3 channels, got 1"),
    ],
)
def test_what_torchvision_does_not_have_is_refused(spec: str, sizes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_model(spec, dataset=sizes.get("dataset"))
