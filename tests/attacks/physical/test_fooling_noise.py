"""fooling_noise and evolved_noise make noise that a network is sure about."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.physical.confidence import confident
from advbench.attacks.physical.evolved_noise import _polynomial, evolved_noise
from advbench.attacks.physical.fooling_noise import fooling_noise
from advbench.core.draws import Draws
from advbench.testing import Linear
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds

FREE = ThreatModel(0, None)
BOTH = pytest.mark.parametrize("fool", [fooling_noise, evolved_noise])


def sharp() -> nn.Module:
    """A network that can be as sure as 0.99 of each of its classes."""
    return nn.Sequential(conv_net(), nn.Flatten(), _Scaled())


class _Scaled(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return 1.5 * logits


def certainty(model: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    return model(z).softmax(1).gather(1, y[:, None])[:, 0].detach()


@pytest.mark.parametrize(("fool", "share"), [(fooling_noise, 1.0), (evolved_noise, 0.7)])
def test_the_network_is_sure_of_the_target_and_x_plays_no_part(fool: object, share: float) -> None:
    model = sharp()
    x, y, draws = images(model, 16)
    target = (y + 1) % 4
    z = fool(model, x, target, FREE, draws=draws, targeted=True)  # type: ignore[operator]
    sure = certainty(model, z, target)
    assert float((sure >= 0.99 - 1e-5).float().mean()) >= share
    assert bool((model(z).argmax(1) == target).all())
    shown = 0.5 * x if bool((model(0.5 * x).argmax(1) != target).all()) else x.flip(3)
    elsewhere = model(shown).argmax(1) != target  # samples that do not end at once
    other = fool(model, shown, target, FREE, draws=draws, targeted=True)  # type: ignore[operator]
    torch.testing.assert_close(other[elsewhere], z[elsewhere], atol=1e-5, rtol=0.0)


@settings(max_examples=10, deadline=None)
@given(seeds(), st.integers(0, 40), st.sampled_from((fooling_noise, evolved_noise)))
def test_a_radius_counts_the_components_that_are_not_those_of_x(seed: int, eps: int, fool: object) -> None:
    model = conv_net()
    x, y, draws = images(model, 4, seed)
    few = {"steps": 4} if fool is fooling_noise else {"generations": 4}
    z = fool(model, x, y, ThreatModel(0, eps), draws=draws, **few)  # type: ignore[operator]
    assert int((z != x).flatten(1).sum(1).max()) <= eps


@BOTH
def test_a_sample_that_holds_costs_all_and_one_that_is_there_already_a_single_pass(fool: object) -> None:
    x, draws = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1)), Draws(0, torch.arange(3))
    counting = Counting(Linear(torch.zeros(2, 36), torch.tensor([1.0, 0.0])), 3)
    few = {"steps": 5} if fool is fooling_noise else {"generations": 5}
    z = fool(counting, x, torch.tensor([0, 1, 0]), FREE, draws=draws, **few)  # type: ignore[operator]
    assert counting.passes.tolist() == [7, 1, 7]
    assert torch.equal(z[1], x[1])


def test_the_gradient_goes_to_the_corner_that_the_class_likes_best() -> None:
    weight = torch.randn(2, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = Linear(0.01 * weight, torch.tensor([5.0, 0.0]))  # never sure: all steps are taken
    x, draws = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1)), Draws(0, torch.arange(3))
    z = fooling_noise(model, x, torch.ones(3, dtype=torch.int64), FREE, draws=draws, targeted=True)
    best = ((weight[1] - weight[0]) > 0).float().reshape(1, 1, 6, 6).expand(3, 1, 6, 6)
    torch.testing.assert_close(z, best, atol=0.02, rtol=0.0)


def test_evolution_never_loses_ground() -> None:
    model = sharp()
    x, y, draws = images(model, 8)
    target = (y + 1) % 4
    sure = [
        certainty(model, evolved_noise(model, x, target, FREE, draws=draws, targeted=True, generations=n), target)
        for n in (1, 10, 100)
    ]
    assert bool((sure[0] <= sure[1] + 1e-6).all())
    assert bool((sure[1] <= sure[2] + 1e-6).all())
    assert float(sure[2].mean()) > float(sure[0].mean()) + 0.2


def test_polynomial_mutation_has_the_density_of_its_definition() -> None:
    """P(|change| <= d) = 1 - (1 - d)^16 for eta = 15."""
    change = _polynomial((torch.arange(100_000) + 0.5) / 100_000)
    assert float(change.abs().max()) <= 1.0
    for d in (0.01, 0.05, 0.2):
        assert float((change.abs() <= d).float().mean()) == pytest.approx(1.0 - (1.0 - d) ** 16, abs=1e-3)
    assert float(change.mean()) == pytest.approx(0.0, abs=1e-4)


def test_confidence_is_part_of_the_goal() -> None:
    class Given(nn.Module):
        def forward(self, p: Tensor) -> Tensor:
            return p.log()

    p = torch.tensor([[0.6, 0.4], [0.995, 0.005], [0.2, 0.8]])
    y, rows = torch.zeros(3, dtype=torch.int64), torch.arange(3)
    towards = confident(Given(), y, targeted=True, confidence=0.99)(p, rows)
    assert towards.reached.tolist() == [False, True, False]
    torch.testing.assert_close(towards.loss, -p[:, 0].log())
    away = confident(Given(), y, targeted=False, confidence=0.7)(p, rows)
    assert away.reached.tolist() == [False, False, True]
    torch.testing.assert_close(away.loss, -p[:, 1].log())


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=r"confidence must be in \[0, 1\)"):
        fooling_noise(model, x, y, FREE, draws=draws, confidence=1.0)
    with pytest.raises(ConfigError, match="penalty must not be negative"):
        fooling_noise(model, x, y, FREE, draws=draws, penalty=-1.0)
    with pytest.raises(ConfigError, match=r"rate must be in \(0, 1\]"):
        evolved_noise(model, x, y, FREE, draws=draws, rate=0.0)
    with pytest.raises(ConfigError, match="generations must be at least 1"):
        evolved_noise(model, x, y, FREE, draws=draws, generations=0)
