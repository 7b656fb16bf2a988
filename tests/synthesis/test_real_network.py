"""Pictures from SqueezeNet 1.1 with its ImageNet weights, where they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import energy, logit, scores
from advbench.datasets.images import read_image
from advbench.models.load import load_model
from advbench.synthesis.dream.dream import dream
from advbench.synthesis.inversion.error_table import error_table
from advbench.synthesis.visualize.visualize import visualize

pytestmark = pytest.mark.slow


def squeezenet(shared_data: Path, version: str, file: str) -> nn.Module:
    weights = shared_data / "imagenet_weights" / file
    return load_model(f"torchvision:squeezenet{version}", shape=(3, 224, 224), classes=1000, weights=weights)


@pytest.fixture(scope="module")
def net(shared_data: Path) -> nn.Module:
    return squeezenet(shared_data, "1_1", "squeezenet1_1_caffe.safetensors")


@pytest.fixture(scope="module")
def dog(shared_data: Path) -> Tensor:
    return read_image(shared_data / "photos_hub" / "dog_258.jpg", size=112)[None]


def test_another_network_knows_the_class_images(net: nn.Module, shared_data: Path) -> None:
    y = torch.tensor([0, 9, 130, 340])  # tench, ostrich, flamingo, zebra
    image = visualize(net, logit(y), draws=Draws(0, y), steps=40)
    judge = squeezenet(shared_data, "1_0", "squeezenet1_0_deepcompression.safetensors")
    best = judge(image).topk(5, dim=1).indices
    assert int((best == y[:, None]).any(1).sum()) >= 3


def test_a_stronger_prior_costs_shallow_layers_most(net: nn.Module, dog: Tensor) -> None:
    layers = ["features.0", "features.12", "classifier.3"]
    table = error_table(net, dog, layers, draws=Draws(0, torch.arange(1)), variations=(0.1, 30.0), steps=40)
    mean = table.xs(("relative", "mean"), level=("error", "statistic"))
    shallow, deep, answer = (mean[layer] for layer in layers)
    assert shallow[30.0] > 2.0 * shallow[0.1]
    assert shallow[30.0] / shallow[0.1] > answer[30.0] / answer[0.1]
    assert answer[30.0] < deep[30.0]


def test_a_dream_doubles_the_energy_of_its_layer(net: nn.Module, dog: Tensor) -> None:
    one = torch.arange(1)
    dreamt = dream(net, dog, draws=Draws(0, one), layers="net.features.9", octaves=1)
    before, after = (scores(net, x, energy("net.features.9"), one).item() for x in (dog, dreamt))
    assert after > 2.0 * before
