"""Laws of every architecture that is sized for its data, and numbers from the papers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.models.load import load_model
from advbench.models.weights import weights_hash
from advbench.registry import MODELS

# Each registered builder that makes a net from a seed, in a size that is quick to try.
LAYERS = [["conv", 3, 4, 3, 2, 1, 1], ["batchnorm", 4], ["relu"], ["avgpool_all"], ["flatten"], ["linear", 4, 5]]
SMALL: dict[str, dict[str, object]] = {
    "linear": {},
    "mlp": {"width": 8},
    "small_cnn": {"width": 4},
    "lenet5": {},
    "preact_resnet18": {"width": 4},
    "wide_resnet": {"depth": 10, "width": 1},
    "torchvision": {"name": "squeezenet1_1"},
    "sequential": {"file": LAYERS},
}
SHAPE, CLASSES = (3, 32, 32), 5


FROM_ELSEWHERE = {"timm", "python", "vgg19_features", "vgg19_distilled"}  # have tests of their own


def test_every_architecture_is_held_to_these_laws() -> None:
    ours = {entry.name for entry in MODELS if entry.function.__module__.startswith("advbench.")}
    assert ours == SMALL.keys() | FROM_ELSEWHERE


@pytest.fixture(scope="module")
def layers_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers") / "layers.json"
    path.write_text(json.dumps([{"name": "tiny", "layers": LAYERS}]))
    return path


def small(name: str, layers_file: Path, seed: int = 0) -> torch.nn.Module:
    params = {key: layers_file if key == "file" else value for key, value in SMALL[name].items()}
    return load_model(name, shape=SHAPE, classes=CLASSES, seed=seed, params=params)


@pytest.mark.parametrize("name", SMALL)
def test_logits_do_not_depend_on_the_rest_of_the_batch(name: str, layers_file: Path) -> None:
    model = small(name, layers_file)
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = model(x), torch.cat([model(image[None]) for image in x])
    assert together.shape == (5, CLASSES)
    assert not model.training
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_weights_follow_from_the_seed_and_the_global_generator_stays(name: str, layers_file: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, other = small(name, layers_file, seed=3), small(name, layers_file, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)  # whatever the global state is, the seed decides
    assert weights_hash(first) == weights_hash(small(name, layers_file, seed=3))
    assert weights_hash(first) != weights_hash(other)


@pytest.mark.parametrize("name", ["linear", "mlp", "small_cnn", "lenet5"])
@given(channels=st.sampled_from((1, 3)), height=st.integers(4, 33), width=st.integers(4, 33), k=st.integers(2, 12))
def test_small_nets_fit_any_image_size(name: str, channels: int, height: int, width: int, k: int) -> None:
    model = load_model(name, shape=(channels, height, width), classes=k)
    assert model(torch.zeros(2, channels, height, width)).shape == (2, k)


@pytest.mark.parametrize(
    ("name", "params", "millions"),
    [
        ("preact_resnet18", {}, 11.17),  # the CIFAR ResNet-18 of robustness papers
        ("wide_resnet", {"depth": 16, "width": 4}, 2.75),  # arXiv:1605.07146, table 4: WRN-16-4
        pytest.param("wide_resnet", {}, 36.48, marks=pytest.mark.slow),  # table 4: WRN-28-10, 36.5 million
    ],
)
def test_number_of_weights_is_that_of_the_paper(name: str, params: dict[str, object], millions: float) -> None:
    model = load_model(name, dataset="cifar10", params=params)
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


def test_residual_nets_work_on_the_smallest_dataset() -> None:
    model = load_model("preact_resnet18", dataset="digits", params={"width": 4})
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
