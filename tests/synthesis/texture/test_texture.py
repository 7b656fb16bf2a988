"""Textures from a network's statistics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.activations import record
from advbench.core.draws import Draws
from advbench.core.gram import gram, gram_distance
from advbench.core.journal import Frame, running
from advbench.models.load import load_model
from advbench.synthesis.texture.comparisons import COMPARISONS
from advbench.synthesis.texture.texture import texture
from advbench.testing.witness import state_of
from advbench.types import ConfigError

DRAWS = Draws(0, torch.arange(2))
LAYERS = ["relu1_1", "relu2_1", "relu3_1"]


def stripes(channels: int = 3) -> Tensor:
    """(1, channels, 32, 32): a wave of four periods with a channel of its own colour."""
    wave = 0.5 + 0.4 * torch.sin(torch.arange(32) * torch.pi / 4)
    return torch.stack([wave.expand(32, 32) * (1 - 0.3 * i) for i in range(channels)])[None]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model("vgg19_distilled", params={"last": "relu3_1"})


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(COMPARISONS))
def test_every_loss_falls_and_the_model_is_left_alone(loss: str, model: nn.Module) -> None:
    frames, before = list[Frame](), state_of(model)
    optimiser = "lbfgs" if loss == "gram" else "adam"
    with running(watch=frames.append):
        made = texture(model, stripes(), draws=DRAWS, size=(48, 40), loss=loss, steps=40, optimiser=optimiser, scales=1)
    assert state_of(model) == before
    assert made.shape == (2, 3, 48, 40)
    assert 0.0 <= float(made.min()) < float(made.max()) <= 1.0
    torch.testing.assert_close(frames[0].loss, torch.ones(2), atol=1e-4, rtol=0)
    limit = {"gram": 0.1, "sliced_wasserstein": 0.3, "nearest_features": 0.6}[loss]
    assert bool((torch.stack([frame.loss for frame in frames]).amin(0) < limit).all())
    assert not torch.allclose(made[0], made[1], atol=0.05)  # each has its own noise


@pytest.mark.slow
def test_the_grams_of_the_result_are_nearer_than_those_of_shuffled_pixels(model: nn.Module) -> None:
    sample = stripes()
    made = texture(model, sample, draws=Draws(0, torch.arange(1)), steps=40)
    shuffled = sample.flatten(2)[:, :, torch.randperm(1024)].reshape(sample.shape)
    with torch.no_grad(), record(model, LAYERS) as seen:
        grams = []
        for picture in (sample, made, shuffled):
            model(picture)
            grams.append({layer: gram(seen[layer]) for layer in LAYERS})
    for layer in LAYERS:
        near, far = (float(gram_distance(grams[0][layer], other[layer])) for other in grams[1:])
        assert near < 0.2 * far


@pytest.mark.slow
def test_results_do_not_depend_on_the_batch_and_come_again_with_the_seed(model: nn.Module) -> None:
    both = texture(model, stripes(), draws=DRAWS, steps=5, optimiser="adam")
    alone = texture(model, stripes(), draws=DRAWS.rows(torch.tensor([1])), steps=5, optimiser="adam")
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=0)
    assert torch.equal(both, texture(model, stripes(), draws=DRAWS, steps=5, optimiser="adam"))


@pytest.mark.slow
def test_circular_padding_leaves_no_seam(model: nn.Module) -> None:
    made = texture(model, stripes(), draws=Draws(0, torch.arange(1)), steps=60, padding="circular", layers=LAYERS)
    seam = (made[..., 0] - made[..., -1]).abs().mean()
    inside = (made[..., 1:] - made[..., :-1]).abs().mean()
    assert float(seam) < 2.0 * float(inside)


def test_one_channel_and_a_network_made_for_another_size() -> None:
    net = load_model("lenet5", shape=(1, 28, 28), classes=10)
    made = texture(net, stripes(1), draws=DRAWS, steps=3)
    assert made.shape == (2, 1, 64, 64)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": "gramm"}, "no texture loss 'gramm'"),
        ({"weights": [1.0]}, "1 weights for 3 layers"),
        ({"optimiser": "sgd"}, "optimiser must be one of lbfgs, adam"),
        ({"colours": "luma"}, "colours must be one of none, histogram, statistics"),
        ({"scales": 0}, "scales must be at least 1"),
        ({"layers": ["relu9_1"]}, "no layer named 'relu9_1'"),
        ({"padding": "mirror"}, "padding must be one of"),
    ],
)
def test_wrong_requests_are_refused(wrong: dict[str, object], message: str, model: nn.Module) -> None:
    with pytest.raises(ConfigError, match=message):
        texture(model, stripes(), draws=DRAWS, **wrong)  # type: ignore[arg-type]


def test_a_picture_too_small_for_a_layer_is_refused_in_words() -> None:
    """Behind four poolings 16 x 16 pixels are one: reflection has nothing to reflect there."""
    blocks = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for _ in range(5)]
    net = nn.Sequential(*blocks)
    message = r"16 x 16 pixels are too few for layer '4\.1' of Sequential: give a larger size \(--size\), fewer scales"
    with pytest.raises(ConfigError, match=message) as raised:
        texture(net, stripes(), draws=DRAWS, size=(16, 16), layers=["0.1", "4.1"], steps=1)
    assert isinstance(raised.value.__cause__, RuntimeError)
    made = texture(net, stripes(), draws=DRAWS, size=(16, 16), layers=["0.1", "4.1"], steps=1, padding="replicate")
    assert made.shape == (2, 3, 16, 16)
