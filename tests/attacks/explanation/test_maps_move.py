"""The attacks on explanations: the class stays, the ball holds, the map goes where it was sent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from advbench.attacks.explanation.manipulate import manipulate
from advbench.attacks.explanation.mass_center import mass_center
from advbench.attacks.explanation.targeted_region import targeted_region
from advbench.attacks.explanation.top_k_saliency import top_k_saliency
from advbench.core.draws import Draws
from advbench.core.gradient_map import gradient_shares
from advbench.core.gradients import in_pieces
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images

Attack = Callable[..., Tensor]
ATTACKS: list[Attack] = [top_k_saliency, mass_center, targeted_region, manipulate]
LINF = ThreatModel(inf, 0.1)


def overlap(model: torch.nn.Module, x: Tensor, x_adv: Tensor, k: int) -> Tensor:
    y = model(x).argmax(1)
    first, second = (gradient_shares(model, z, y).flatten(1).topk(k).indices for z in (x, x_adv))
    return (first[:, :, None] == second[:, None]).any(2).float().mean(1)


@pytest.mark.parametrize("attack", ATTACKS)
@settings(max_examples=5)
@given(eps=st.floats(0.0, 0.3), norm=st.sampled_from([2.0, inf]), seed=st.integers(0, 20))
def test_the_class_stays_and_the_ball_holds(attack: Attack, eps: float, norm: float, seed: int) -> None:
    model = conv_net()
    x, y, draws = images(model, 6, seed)
    x_adv = attack(model, x, y, ThreatModel(norm, eps), draws=draws, steps=5)
    assert torch.equal(model(x_adv).argmax(1), y)
    length = torch.linalg.vector_norm((x_adv - x).double().flatten(1), norm, dim=1)
    assert bool((length <= eps + 1e-6).all())
    assert 0.0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1.0


def test_the_overlap_never_grows_with_the_steps() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    found = [
        # A step of the same length each time: the longer run passes through all points of the shorter one.
        overlap(model, x, top_k_saliency(model, x, y, LINF, draws=draws, steps=n, k=6, relative_step=0.1 * n), 6)
        for n in (1, 2, 4, 8, 16)
    ]
    for before, after in pairwise(found):
        assert bool((after <= before + 1e-6).all())
    assert float(found[-1].mean()) < 0.6


def test_it_moves_more_than_noise_of_the_same_length() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    x_adv = top_k_saliency(model, x, y, LINF, draws=draws, steps=30, k=6)
    noise = (x + 0.1 * draws.signs(tuple(x.shape[1:]), "noise")).clamp(0.0, 1.0)
    assert float(overlap(model, x, x_adv, 6).mean()) < float(overlap(model, x, noise, 6).mean()) - 0.1


def test_the_centre_of_mass_moves() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    at = torch.arange(6.0)

    def centres(z: Tensor) -> Tensor:
        shares = gradient_shares(model, z, y)
        return torch.stack([shares.sum(2) @ at, shares.sum(1) @ at], 1)

    x_adv = mass_center(model, x, y, LINF, draws=draws, steps=20)
    assert float((centres(x_adv) - centres(x)).norm(dim=1).mean()) > 0.3


def test_the_map_gathers_in_the_region() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    x_adv = targeted_region(model, x, y, LINF, draws=draws, steps=20, region=(0.0, 0.0, 0.5, 0.5))
    before, after = (gradient_shares(model, z, y)[:, :3, :3].flatten(1).sum(1) for z in (x, x_adv))
    assert bool((after >= before - 1e-6).all())
    assert float((after - before).mean()) > 0.03


def test_manipulate_goes_to_the_target_map_and_away_from_its_own() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    target = torch.zeros(6, 6)
    target[3:, 3:] = 1.0
    own = gradient_shares(model, x, y)

    def apart(z: Tensor) -> Tensor:
        return (gradient_shares(model, z, y) - target / 9.0).flatten(1).square().sum(1)

    def alike(z: Tensor) -> Tensor:
        return torch.cosine_similarity(gradient_shares(model, z, y).flatten(1), own.flatten(1))

    towards = manipulate(model, x, y, LINF, draws=draws, steps=40, target_map=target)
    away = manipulate(model, x, y, LINF, draws=draws, steps=40)
    assert bool((apart(towards) <= apart(x) * (1.0 + 1e-6)).all())
    assert float((apart(towards) / apart(x)).mean()) < 0.95
    assert float(alike(away).mean()) < 0.9


@pytest.mark.parametrize("activation", [torch.nn.GELU, torch.nn.Tanh])
def test_a_network_without_relus_is_left_too(activation: type[torch.nn.Module]) -> None:
    """Its map at x is the one that is descended from: exactly there the cosine has no slope."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = (torch.nn.Conv2d(1, 8, 3), activation(), torch.nn.Flatten(), torch.nn.Linear(128, 4))
        model = torch.nn.Sequential(*layers).eval()
    x, _, draws = images(conv_net(), 6)
    y = model(x).argmax(1)
    x_adv = manipulate(model, x, y, ThreatModel(inf, 0.05), draws=draws, steps=40)
    assert (x_adv - x).abs().flatten(1).amax(1).tolist() == pytest.approx([0.05] * 6, abs=1e-3)
    before, after = (gradient_shares(model, z, y).flatten(1) for z in (x, x_adv))
    noise = x + 0.05 * draws.signs((1, 6, 6), "noise")
    shaken = gradient_shares(model, noise.clamp(0.0, 1.0), y).flatten(1)
    cosine = torch.nn.functional.cosine_similarity
    assert bool((1.0 - cosine(before, after) > 1.5 * (1.0 - cosine(before, shaken))).all())


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_linear_model_has_one_map_and_stays_where_it_is(attack: Attack) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
    x = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    x_adv = attack(model, x, model(x).argmax(1), LINF, draws=Draws(0, torch.arange(3)), steps=3)
    assert_close(overlap(model, x, x_adv, 6), torch.ones(3))


@pytest.mark.parametrize("attack", ATTACKS)
def test_pieces_and_order_change_nothing(attack: Attack) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 8)
    whole = attack(model, x.double(), y, LINF, draws=draws, steps=5)
    with in_pieces(3):
        backwards = attack(model, x.double().flip(0), y.flip(0), LINF, draws=draws, steps=5).flip(0)
    assert_close(backwards, whole, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(
    ("attack", "given"),
    [
        (top_k_saliency, {"k": 37}),
        (top_k_saliency, {"k": 0}),
        (top_k_saliency, {"steps": 0}),
        (mass_center, {"beta": 0.0}),
        (targeted_region, {"region": (0.5, 0.0, 0.5, 1.0)}),
        (manipulate, {"output_weight": -1.0}),
        (manipulate, {"target_map": torch.ones(5, 6)}),
        (manipulate, {"target_map": -torch.ones(6, 6)}),
    ],
)
def test_what_cannot_be_is_refused(attack: Attack, given: dict[str, object]) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError):
        attack(model, x, y, LINF, draws=draws, **given)
