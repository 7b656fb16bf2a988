"""Single-step adversarial training's loss."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.core.sampling import random_start
from advbench.defenses.train import plain
from advbench.defenses.training.fast_adversarial import fast_adversarial
from advbench.types import ThreatModel
from tests.strategies import images, seeds


class Recording(nn.Module):
    """A linear net that remembers what it was shown in train mode."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 3)
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.shown.append(x.detach().clone())
        logits: Tensor = self.linear(x.flatten(1))
        return logits


@given(images(), seeds(), st.sampled_from((1.0, 2.0, math.inf)), st.floats(0.0, 0.9))
def test_what_it_trains_on_stays_in_ball_and_box(x: Tensor, seed: int, norm: float, eps: float) -> None:
    model, y = Recording(x[0].numel()), torch.arange(len(x)) % 3
    fast_adversarial(model, x, y, ThreatModel(norm, eps), draws=Draws(seed, torch.arange(len(x))))
    (x_adv,) = model.shown
    assert bool((lengths((x_adv - x).double(), norm) <= eps * (1 + 1e-5) + 1e-6).all())
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
    assert model.training


@given(images(), seeds())
def test_without_a_radius_of_size_the_loss_is_plain_cross_entropy(x: Tensor, seed: int) -> None:
    model, y = Recording(x[0].numel()), torch.arange(len(x)) % 3
    draws, nothing = Draws(seed, torch.arange(len(x))), ThreatModel(math.inf, 0.0)
    assert_close(fast_adversarial(model, x, y, nothing, draws=draws), plain(model, x, y, nothing, draws=draws))


def test_the_step_is_five_quarters_of_eps_from_a_uniform_start() -> None:
    x, y = torch.full((64, 1, 2, 2), 0.5), torch.zeros(64, dtype=torch.int64)
    model, threat, draws = Recording(4), ThreatModel(math.inf, 0.2), Draws(5, torch.arange(64))
    fast_adversarial(model, x, y, threat, draws=draws)
    (x_adv,) = model.shown
    start = random_start(x, threat, draws)
    logits = model.linear(start.flatten(1))
    probabilities = logits.softmax(1)
    probabilities[:, 0] -= 1.0
    gradient = (probabilities @ model.linear.weight).detach().reshape(x.shape)
    assert_close(x_adv, (start + 0.25 * gradient.sign()).clamp(0.3, 0.7))
    assert bool(((x_adv - x).abs() < 0.2 - 1e-6).any())  # an eighth of the starts lie too far on the other side
