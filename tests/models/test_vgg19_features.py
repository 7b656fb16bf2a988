"""VGG-19 cut off behind a ReLU: names, shapes, keys, and real weights where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import vgg19

from advbench.core.activations import record
from advbench.models.load import load_model
from advbench.models.weights import weights_hash
from advbench.types import ConfigError

NAMES = ["vgg19_features", "vgg19_distilled"]


@pytest.mark.parametrize("name", NAMES)
def test_maps_of_the_usual_layers_have_the_usual_sizes(name: str) -> None:
    model = load_model(name, params={"last": "relu3_1"})
    x = torch.rand(2, 3, 32, 40)
    with torch.no_grad(), record(model, ["relu1_1", "relu1_2", "pool1", "relu2_1", "relu3_1"]) as seen:
        out = model(x)
    sizes = {layer: tuple(maps.shape[2:]) for layer, maps in seen.items()}
    assert sizes["relu1_1"] == sizes["relu1_2"] == (32, 40)
    assert sizes["pool1"] == sizes["relu2_1"] == (16, 20)
    assert sizes["relu3_1"] == (8, 10)
    assert torch.equal(out, seen["relu3_1"])


def test_its_keys_are_torchvisions() -> None:
    with torch.device("meta"):
        whole = vgg19().state_dict()
        model = load_model("vgg19_features")
    own = model.get_submodule("net").state_dict()
    assert set(own) == {key for key in whole if key.startswith("features.") and int(key.split(".")[1]) <= 28}
    assert all(own[key].shape == whole[key].shape for key in own)


def test_inside_it_computes_what_torchvisions_does() -> None:
    model = load_model("vgg19_features", params={"last": "relu2_2"})
    plain = vgg19().features[:9].eval()
    own = model.get_submodule("net").state_dict()
    convs = {key.removeprefix("features."): value for key, value in own.items()}
    plain.load_state_dict(convs)
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        ours, theirs = model(x), plain(model.get_submodule("normalize")(x))
    assert ours.shape == theirs.shape
    # Zero padding changes what is near the rim.
    torch.testing.assert_close(ours[..., 4:-4, 4:-4], theirs[..., 4:-4, 4:-4], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_come_from_the_seed_and_keep_activations_alive(name: str) -> None:
    model, again, other = (load_model(name, seed=seed, params={"last": "relu3_1"}) for seed in (0, 0, 1))
    assert weights_hash(model) == weights_hash(again) != weights_hash(other)
    with torch.no_grad():
        assert 0.1 < float(model(torch.rand(1, 3, 32, 32)).std()) < 10.0


@pytest.mark.parametrize("name", NAMES)
def test_wrong_requests_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="last layer must be one of relu1_1, relu1_2"):
        load_model(name, params={"last": "conv3_1"})
    with pytest.raises(ConfigError, match="3 channels, got 1"):
        load_model(name, shape=(1, 28, 28))


def test_real_weights_load_and_the_distilled_net_estimates_the_full_one(shared_data: Path) -> None:
    folder = shared_data / "imagenet_weights"
    full = load_model(
        "vgg19_features", weights=folder / "vgg19_normalised_to_conv3_1.safetensors", params={"last": "relu3_1"}
    )
    small = load_model("vgg19_distilled", weights=folder / "vgg19_distilled16x_to_conv5_1.safetensors")
    waves = torch.linspace(0, 12, 96)
    x = (0.5 + 0.4 * torch.sin(waves[:, None] * torch.tensor([1.0, 1.5, 2.0])[:, None, None] + waves))[None]
    with torch.no_grad(), record(full, ["relu1_1"]) as one, record(small, ["relu1_1"]) as two:
        full(x)
        small(x)
        estimate = small.get_submodule("net.aux1_1")(two["relu1_1"]).relu()
    pair = torch.stack([one["relu1_1"].flatten(), estimate.flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.95
