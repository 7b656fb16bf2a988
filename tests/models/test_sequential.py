"""Networks from layer lists: the published ones with their accuracy, and lists that make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional

from advbench.datasets.load import load_dataset, load_samples
from advbench.models.load import comes_trained, load_model
from advbench.models.sequential import LAYERS
from advbench.models.weights import weights_hash
from advbench.types import ConfigError

DATA = {
    "mnist": "mnist/mnist_test.npz",
    "fashion_mnist": "fashion_mnist/fashion_mnist_test.npz",
    "cifar10": "cifar10/cifar10_jpeg_test.npz",
}
PUBLISHED = {
    "mnist_lenet5_plain": 98.89,
    "mnist_lenet5_pgd_eps0.3": 98.64,
    "mnist_fastfgsm_eps0.3": 98.50,
    "mnist_kw_eps0.1": 98.20,
    "mnist_cnn_a_adv_eps0.3": 96.33,
    "mnist_abs_vanilla_cnn": 99.35,
    "mnist_abs_binary_cnn": 98.82,
    "fashion_kw_eps0.1": 78.26,
    "cifar_resnet20": 81.03,
    "cifar_resnet4b_pgd_eps2": 76.54,
    "cifar_cnn_a_adv_eps2": 65.54,
    "cifar_oval_plain": 73.55,
    "cifar_base_kw": 58.02,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_net_has_its_accuracy(shared_data: Path, name: str) -> None:
    listing = shared_data / "models" / "models.json"
    dataset = next(entry["dataset"] for entry in json.loads(listing.read_text()) if entry["name"] == name)
    x, y = load_samples(load_dataset(f"npz:{shared_data / DATA[dataset]}#{dataset}"), count=500)
    model = load_model(f"sequential:{listing}#{name}", dataset=dataset)
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    p = PUBLISHED[name] / 100
    assert abs(accuracy - p) < 3 * (p * (1 - p) / 500) ** 0.5  # three standard errors


def test_lenet5_takes_the_published_weights(shared_data: Path) -> None:
    file = shared_data / "models" / "mnist_lenet5_plain.safetensors"
    ours = load_model("lenet5", dataset="mnist", weights=file)
    listed = load_model(f"sequential:{shared_data / 'models' / 'models.json'}#mnist_lenet5_plain")
    assert weights_hash(ours) == weights_hash(listed)


def test_weights_of_a_list_can_be_left_out(shared_data: Path) -> None:
    spec = f"sequential:{shared_data / 'models' / 'models.json'}#mnist_kw_eps0.1"
    assert comes_trained(spec)
    assert not comes_trained(spec, weights="none")
    one, other = (load_model(spec, weights="none", seed=seed) for seed in (1, 2))
    assert weights_hash(one) != weights_hash(other)


def write(folder: Path, layers: object, name: str = "layers.json") -> Path:
    path = folder / name
    content = [{"name": "tiny", "layers": layers}]
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))
    return path


def test_json_and_yaml_give_the_same_net(tmp_path: Path) -> None:
    layers = [["flatten"], ["linear", 4, 2]]
    nets = [load_model(f"sequential:{write(tmp_path, layers, name)}") for name in ("a.json", "a.yaml")]
    assert weights_hash(nets[0]) == weights_hash(nets[1])


def test_each_kind_of_layer_computes_what_its_name_says(tmp_path: Path) -> None:
    x = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))

    def apply(*layers: list[object]) -> torch.Tensor:
        with torch.no_grad():
            result: torch.Tensor = load_model(f"sequential:{write(tmp_path, list(layers))}")(x)
        return result

    expected = {
        "normalize": (apply(["normalize", [0.5] * 4, [0.25] * 4]), (x - 0.5) * 4),
        "binarize": (apply(["binarize"]), (x >= 0.5).float()),
        "relu": (apply(["normalize", [0.5] * 4, [1.0] * 4], ["relu"]), (x - 0.5).clamp(min=0)),
        "elu": (apply(["normalize", [0.5] * 4, [1.0] * 4], ["elu"]), functional.elu(x - 0.5)),
        "flatten": (apply(["flatten"]), x.reshape(2, -1)),
        "flatten_hwc": (apply(["flatten_hwc"]), x.movedim(1, -1).reshape(2, -1)),
        "maxpool": (apply(["maxpool", 2]), x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))),
        "avgpool_all": (apply(["avgpool_all"]), x.mean((2, 3), keepdim=True)),
        "batchnorm": (apply(["batchnorm", 4]), x / (1 + 1e-5) ** 0.5),
        "residual": (apply(["residual", [["relu"]], []]), 2 * x),
        "pad_shortcut": (
            apply(["pad_shortcut", 1]),
            torch.cat([torch.zeros(2, 1, 3, 3), x[..., ::2, ::2], torch.zeros(2, 1, 3, 3)], 1),
        ),
    }
    for kind, (actual, wanted) in expected.items():
        torch.testing.assert_close(actual, wanted, msg=kind)
    assert set(LAYERS) == {*expected, "conv", "linear"}  # these two are the published nets' own test
    assert apply(["conv", 4, 5, 3, 2, 1, 0], ["flatten"], ["linear", 45, 3]).shape == (2, 3)


REFUSED = {
    "kind": ([["flatten"], ["liner", 4, 2]], "layer 1: no layer 'liner'; did you mean 'linear'"),
    "count": ([["conv", 1, 2]], r"layer 0: conv takes \(inputs, outputs, kernel, stride, padding, bias\)"),
    "type": ([["linear", "a", 2]], "layer 0: linear takes"),
    "negative": ([["linear", -4, 2]], "layer 0: linear takes"),
    "std": ([["normalize", [0.5], [0]]], "positive std"),
    "inside": ([["residual", [["rely"]], []]], "layer 0: main: layer 0: no layer 'rely'"),
    "no list": ("conv", "layers must be a list"),
    "no layer": ([3], "must be a list that starts with its kind"),
    "fit": ([["flatten"], ["linear", 5, 2]], "does not take images of shape"),
    "outputs": ([["flatten"], ["linear", 4, 7]], r"gives \(7,\) outputs per image, the data has 2 classes"),
}


@pytest.mark.parametrize(("layers", "message"), REFUSED.values(), ids=REFUSED)
def test_a_senseless_list_is_refused(layers: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_model(f"sequential:{write(tmp_path, layers)}", shape=(1, 2, 2), classes=2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "cannot be read as a list of layers"),
        ("a.json", "[]", "must hold entries"),
        ("a.json", '[{"name": "x"}]', "must hold entries"),
        ("a.yaml", "!!python/object/apply:os.getcwd []", "cannot be read"),
        ("a.json", '[{"name": "ab", "layers": []}, {"name": "xy", "layers": []}]', "has no entry ''.*ab, xy"),
        ("a.json", '[{"name": "x", "file": "gone.safetensors", "layers": []}]', "no such file"),
    ],
)
def test_a_senseless_file_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_model(f"sequential:{tmp_path / name}")


def test_a_missing_file_and_a_wrong_entry_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_model(f"sequential:{tmp_path / 'gone.json'}")
    with pytest.raises(ConfigError, match="no entry 'tinny'; did you mean 'tiny'"):
        load_model(f"sequential:{write(tmp_path, [])}#tinny")
