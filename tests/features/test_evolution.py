"""Similarity of features, what a training leaves to look at, and architectures measured against known answers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.receptive_field import Unit
from advbench.defenses.train import Training, train
from advbench.features.activations import activations
from advbench.features.comparison import comparison, dead_units, duplicate_share, energy_above
from advbench.features.deconv_projection import deconv_projection
from advbench.features.evolution import Evolution, projections, replayed, similarity
from advbench.features.linear_cka import linear_cka
from advbench.types import ConfigError
from tests.attributions.small_nets import tiny_vit
from tests.features.feature_nets import ladder, noise


@given(st.integers(3, 9), st.integers(1, 6), st.integers(0, 99), st.floats(0.01, 100.0))
def test_cka_does_not_see_rotation_scale_and_shift(count: int, dims: int, seed: int, factor: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(count, dims, generator=generator, dtype=torch.float64)
    two = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(dims, dims, generator=generator, dtype=torch.float64))[0]
    assert math.isclose(linear_cka(one, factor * one @ rotation + 3.0), 1.0, abs_tol=1e-9)
    value = linear_cka(one, two)
    assert -1e-12 <= value <= 1 + 1e-12
    assert math.isclose(value, linear_cka(two, one), abs_tol=1e-12)
    # The paper's form: cross-covariances instead of Gram matrices.
    a, b = one - one.mean(0), two - two.mean(0)
    expected = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert math.isclose(value, float(expected), abs_tol=1e-9)


def test_cka_of_what_does_not_vary_is_0() -> None:
    assert linear_cka(torch.ones(4, 2), torch.rand(4, 2)) == 0.0
    with pytest.raises(ConfigError, match="same images"):
        linear_cka(torch.ones(4, 2), torch.ones(3, 2))


@pytest.mark.slow
def test_one_callback_watches_a_training_and_its_checkpoints_replay() -> None:
    model, x = ladder(), noise(40)
    labels = torch.arange(40) % 3
    evolution = Evolution(noise(7, seed=5), ["0", "3", "7"], channels=2, epochs=(1, 3))
    logits: dict[int, torch.Tensor] = {}

    def look(epoch: int) -> None:
        evolution(epoch, model)
        logits[epoch] = replayed(evolution.checkpoints[-1], model)(x[:4]).detach()

    train(
        model, lambda ids: x[ids], labels, training=Training(epochs=3, batch_size=20, held_out=0), seed=0,
        progress=False, on_epoch=lambda epoch: look(epoch.epoch),
    )  # fmt: skip
    assert [checkpoint.epoch for checkpoint in evolution.checkpoints] == [1, 3]
    # The last checkpoint is the trained net; the first is not.
    assert torch.allclose(model.eval()(x[:4]), logits[3], atol=1e-6)
    first, last = evolution.checkpoints
    assert torch.equal(replayed(first, model)(x[:4]), logits[1])
    assert not torch.equal(first.state["0.weight"], last.state["0.weight"])
    for layer in ("0", "3", "7"):
        assert torch.equal(first.strongest[layer].channels, last.strongest[layer].channels)
    table = similarity(evolution)
    assert table.shape == (3, 1)
    assert bool((table > 0).all())
    assert bool((table <= 1 + 1e-6).all())


def test_the_strongest_image_is_the_strongest() -> None:
    model, probe = ladder(), noise(9)
    evolution = Evolution(probe, ["3", "7"], channels=8, epochs=None)
    evolution(17, model)
    found = evolution.checkpoints[0].strongest["3"]
    maps = model[:4](probe)
    assert torch.allclose(found.values, maps.amax((0, 2, 3)), atol=1e-6)
    there = maps[found.ids, found.channels, found.rows, found.columns]
    assert torch.allclose(there, found.values, atol=1e-6)
    assert evolution.checkpoints[0].strongest["7"].ids.tolist() == model(probe).argmax(0).tolist()
    with pytest.raises(ConfigError, match="two checkpoints"):
        similarity(evolution)


def test_projections_are_those_of_the_strongest_units_by_the_weights_of_then() -> None:
    model, probe = ladder(), noise(9)
    evolution = Evolution(probe, ["3", "7"], channels=3, epochs=None)
    evolution(1, model)
    best = evolution.checkpoints[0].strongest["3"]
    units = [Unit(*place) for place in torch.stack([best.channels, best.rows, best.columns], 1).tolist()]
    expected = deconv_projection(model, probe[best.ids], "3", units)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-2.0)
    found = projections(evolution, evolution.checkpoints[0], model)
    assert list(found) == ["3"]  # layer 7 has no map
    assert torch.allclose(found["3"], expected, atol=1e-7)
    assert bool(expected.flatten(1).any(1).all())


def test_dead_channels_are_counted_over_all_images() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1))
        net[0].bias.copy_(torch.tensor([0.0, 0.0, -0.9, 0.5]))
    x = torch.full((3, 1, 2, 2), 0.6)
    x[1, 0, 0, 0] = 0.95  # wakes channel 2, in one place of one image
    found = dead_units(net, lambda ids: x[ids], torch.arange(3), batch=2)
    assert found == {"1": 0.5}  # channels 1 and 3 stay off


class Twice(nn.Module):
    """One ReLU behind two layers: the first never wakes it, the second always."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True)
        for layer, bias in ((self.first, -9.0), (self.second, 1.0)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.relu(self.second(self.relu(self.first(x))))
        return maps


def test_a_relu_that_is_used_twice_is_counted_twice() -> None:
    x = noise(3, (1, 4, 4))
    assert dead_units(Twice(), lambda ids: x[ids], torch.arange(3), batch=2) == {"relu": 1.0, "relu#2": 0.0}


def test_the_channels_of_tokens_are_their_last_axis() -> None:
    net, probe = nn.Sequential(tiny_vit(), nn.ReLU()), noise(5, (3, 16, 16))
    layer = "0.encoder.layers.encoder_layer_0"
    evolution = Evolution(probe, [layer], channels=99, epochs=None)
    evolution(1, net)
    found, tokens = evolution.checkpoints[0].strongest[layer], activations(net, probe, layer)  # (N, T, C)
    assert tokens.shape == (5, 17, 16)
    assert found.channels.tolist() == list(range(16))
    assert torch.allclose(found.values, tokens.amax((0, 1)), atol=1e-6)
    assert found.ids.tolist() == tokens.amax(1).argmax(0).tolist()


def test_dead_channels_of_tokens_are_asleep_at_every_token() -> None:
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [-1.0, -1.0]]])  # (1, T, C)
    assert dead_units(nn.Sequential(nn.ReLU()), lambda ids: tokens[ids], torch.arange(1)) == {"0": 0.5}


def test_the_energy_of_waves_lies_at_their_frequency() -> None:
    row = torch.cos(2 * math.pi * torch.arange(16) * 0.375)
    wave = row.expand(1, 1, 16, 16)
    assert energy_above(wave, (0.25, 0.25)) > 0.9
    assert energy_above(wave, (0.5, 0.5)) == 0.0
    assert energy_above(torch.ones(1, 1, 16, 16), (0.25, 0.25)) < 0.1
    assert energy_above(torch.zeros(1, 1, 3, 3), (0.25, 0.25)) == 0.0


def test_repeated_filters_are_found_with_either_sign() -> None:
    weight = torch.eye(5).view(5, 1, 1, 5).clone()
    weight[1], weight[3] = -2.0 * weight[0], 0.0
    assert math.isclose(duplicate_share(weight), 2 / 5)


def test_a_whole_network_is_measured() -> None:
    x = noise(6)
    found = comparison(ladder(), lambda ids: x[ids], torch.arange(6))
    assert (found.first_layer, found.filters, found.kernel, found.stride) == ("0", 6, (3, 3), (2, 2))
    assert [name for name, _ in found.dead] == ["1", "4"]
    assert 0.0 <= found.dead_share <= 1.0
    # Stride 2 folds back what lies above a quarter of a cycle per pixel.
    assert found.aliasing == found.high_frequency
