"""Dreams: the step is the activation's own gradient, octaves carry what was added, jitter leaves no drift."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import Reading, energy, scores
from advbench.synthesis.dream.dream import dream
from advbench.synthesis.dream.dream_strip import dream_strip, strip_layers
from advbench.synthesis.dream.dream_target import dream_layer, guided
from advbench.synthesis.dream.dream_zoom import dream_zoom, next_view
from advbench.synthesis.dream.octaves import even_step, octave_sizes
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net
from tests.attributions.small_nets import pooled_net, tiny_vit

ONE, TWO = Draws(0, torch.arange(1)), Draws(0, torch.arange(2))


def images(count: int = 2, height: int = 26, width: int = 21) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(2))


def test_the_gradient_is_that_of_the_activation_sent_back() -> None:
    model, x = pooled_net().double(), images().double().requires_grad_(True)
    activation = model[:4](x)
    (sent_back,) = torch.autograd.grad(activation, x, activation.detach())
    (climbed,) = torch.autograd.grad(scores(model, x, energy("3"), torch.arange(2)).sum(), x)
    torch.testing.assert_close(climbed, sent_back, atol=1e-10, rtol=0.0)


def test_a_step_moves_by_its_size_on_average_in_each_sample() -> None:
    grad = images() * torch.tensor([1.0, 1e-6]).reshape(2, 1, 1, 1)
    move, _ = even_step(0.02).update(grad, (), 0.0)
    torch.testing.assert_close(move.abs().flatten(1).mean(1), torch.full((2,), 0.02))
    assert bool((move <= 0).all())
    assert torch.equal(even_step(0.02).update(torch.zeros(1, 3, 4, 4), (), 0.0)[0], torch.zeros(1, 3, 4, 4))


def test_without_steps_the_image_comes_back_exactly() -> None:
    assert torch.equal(dream(pooled_net(), images(), draws=TWO, layers="3", octaves=3, steps=0), images())


def test_energy_rises_and_the_model_is_left_alone() -> None:
    model = pooled_net().train()
    before = state_of(model)
    start = 0.4 + 0.2 * images()
    dreamt = dream(model, start, draws=TWO, layers="3", octaves=1, jitter=0)
    assert state_of(model) == before
    model.eval()
    rows = torch.arange(2)
    before_it, after = (scores(model, x, energy("3"), rows) for x in (start, dreamt))
    assert bool((after > 1.1 * before_it).all())
    assert 0.0 <= float(dreamt.min()) < float(dreamt.max()) <= 1.0


def test_jitter_is_undone() -> None:
    # The identity dreams each pixel away from 0 where it stands: a bright square keeps its place after 50 steps.
    x = torch.zeros(1, 1, 16, 16)
    x[:, :, 5:9, 6:11] = 0.3
    dreamt = dream(nn.Sequential(nn.Identity()), x, draws=ONE, layers="0", octaves=1, steps=50, jitter=8)
    assert torch.equal(dreamt > 0, x > 0)
    assert float(dreamt.max()) > 0.5


def test_octaves_go_from_small_to_large_and_leave_out_what_is_too_small() -> None:
    assert octave_sizes(224, 224, 4, 1.4, 64) == [(82, 82), (114, 114), (160, 160), (224, 224)]
    assert octave_sizes(100, 200, 4, 1.4, 64) == [(71, 143), (100, 200)]
    assert octave_sizes(20, 20, 4, 1.4, 64) == [(20, 20)]


def test_a_guide_lends_each_place_its_best_fitting_feature() -> None:
    guide = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).T.reshape(1, 2, 1, 2)  # places (1, 0) and (0, 2)
    target = guided(nn.Sequential(nn.Identity()), ("0",), guide)
    seen = torch.tensor([[3.0, 1.0], [1.0, 3.0]]).T.reshape(1, 2, 2, 1)
    # (3, 1): 3 with the first, 2 with the second; (1, 3): 1 and 6.
    assert target.read(Reading(seen, {"0": seen}, torch.arange(1))).tolist() == [9.0]
    dreamt = dream(pooled_net(), images(), draws=TWO, layers="3", guide=images(1), octaves=1)
    assert not torch.equal(dreamt, dream(pooled_net(), images(), draws=TWO, layers="3", octaves=1))
    with pytest.raises(ConfigError, match="one image"):
        dream(pooled_net(), images(), draws=TWO, layers="3", guide=images(2))


@pytest.mark.parametrize(
    ("model", "shape"), [(conv_net(), (1, 6, 6)), (pooled_net(), (3, 26, 21)), (tiny_vit(), (3, 16, 16))]
)
def test_any_network_dreams_from_noise(model: nn.Module, shape: tuple[int, int, int]) -> None:
    dreamt = dream(model, draws=TWO, shape=shape, octaves=1, steps=2)
    assert dreamt.shape == (2, *shape)
    assert not torch.equal(dreamt[0], dreamt[1])
    assert dream_layer(model, torch.rand(1, *shape)) in dict(model.named_modules())


def test_a_zoom_keeps_its_size_and_the_middle_of_a_symmetric_picture() -> None:
    frames = dream_zoom(pooled_net(), images(1), draws=ONE, frames=3, layers="3", octaves=1, steps=1)
    assert frames.shape == (3, 3, 26, 21)
    again = dream_zoom(pooled_net(), images(1), draws=ONE, frames=2, layers="3", octaves=1, steps=1)
    assert torch.equal(frames[:2], again)
    hill = torch.exp(-torch.linspace(-2, 2, 15).square())
    picture = torch.outer(hill, hill).expand(1, 3, 15, 15)
    larger = next_view(picture, 1.2, 0.0)
    torch.testing.assert_close(larger[..., 7, 7], picture[..., 7, 7])
    assert bool((larger[..., 3, 3] > picture[..., 3, 3]).all())
    assert torch.equal(next_view(picture, 1.0, 0.0), picture)
    with pytest.raises(ConfigError, match="one image"):
        dream_zoom(pooled_net(), images(2), draws=TWO)


def test_a_strip_goes_from_the_first_layer_to_where_dreams_end() -> None:
    assert strip_layers(pooled_net(), images(1), 9) == ["0", "1", "2", "3"]
    assert strip_layers(pooled_net(), images(1), 2) == ["0", "3"]
    strip = dream_strip(pooled_net(), images(1), draws=ONE, count=3, octaves=1, steps=2)
    assert strip.shape == (3, 3, 26, 21)
    last = dream(pooled_net(), images(1), draws=ONE, layers="3", octaves=1, steps=2)
    assert torch.equal(strip[-1:], last)
