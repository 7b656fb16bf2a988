"""transfer hands over what another attack made on the substitute; the victim is not asked."""

from __future__ import annotations

from functools import partial
from math import inf

import pytest
import torch

from advbench.attacks.gradient.fgsm import fgsm
from advbench.attacks.gradient.mi_fgsm import mi_fgsm
from advbench.attacks.gradient.pgd import pgd
from advbench.attacks.transfer.transfer import transfer
from advbench.testing.witness import Untouchable, state_of
from advbench.types import ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images


@pytest.mark.parametrize("norm", [1.0, 2.0, inf])
@pytest.mark.parametrize("targeted", [False, True])
def test_it_is_the_other_attack_on_the_substitute_without_early_stop(norm: float, targeted: bool) -> None:
    substitute = conv_net(1)
    x, y, draws = images(substitute)
    threat = ThreatModel(norm, 0.1)
    expected = pgd(substitute, x, y, threat, draws=draws, targeted=targeted, early_stop=False)
    found = transfer(Untouchable(), x, y, threat, draws=draws, substitute=substitute, targeted=targeted)
    assert torch.equal(found, expected)


def test_parameters_of_the_other_attack_are_kept() -> None:
    substitute = conv_net(1)
    x, y, draws = images(substitute)
    watched = Counting(substitute, len(x))
    tiny, via = ThreatModel(inf, 1e-5), partial(mi_fgsm, steps=3)
    transfer(Untouchable(), x, y, tiny, draws=draws, substitute=watched, via=via)
    assert bool((watched.passes == 3).all())


def test_a_sample_that_the_substitute_gets_wrong_is_moved_all_the_same() -> None:
    substitute = conv_net(1)
    x, y, draws = images(substitute)
    found = transfer(
        Untouchable(), x, (y + 1) % 4, ThreatModel(inf, 0.05), draws=draws, substitute=substitute, via=fgsm
    )
    assert bool(((found - x).abs().flatten(1).amax(1) > 0.04).all())


def test_the_substitute_is_left_as_it_came() -> None:
    substitute = conv_net(1).train()
    x, y, draws = images(substitute)
    before = state_of(substitute)
    transfer(Untouchable(), x, y, ThreatModel(2, 0.3), draws=draws, substitute=substitute)
    assert state_of(substitute) == before


def test_examples_of_a_twin_fool_better_than_noise() -> None:
    victim, substitute = conv_net(0), conv_net(0)
    with torch.no_grad():
        for parameter in substitute.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    x, y, draws = images(victim, 64)
    threat = ThreatModel(inf, 0.1)
    moved = transfer(victim, x, y, threat, draws=draws, substitute=substitute)
    noisy = (x + 0.1 * draws.signs((1, 6, 6), "test")).clamp(0.0, 1.0)
    by_transfer, by_noise = ((victim(z).argmax(1) != y).double().mean() for z in (moved, noisy))
    assert float(by_transfer) > float(by_noise) + 0.3
