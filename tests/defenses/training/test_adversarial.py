"""Adversarial training's loss and its inner attack."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.defenses.train import plain
from advbench.defenses.training.adversarial import adversarial, worst_case
from advbench.types import ThreatModel
from tests.strategies import images, seeds


def linear(x: Tensor, seed: int) -> nn.Module:
    torch_generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch_generator)
    return model


@given(images(), seeds(), st.sampled_from((1.0, 2.0, math.inf)), st.integers(1, 4), st.floats(0.0, 0.9))
def test_the_worst_case_stays_in_ball_and_box(x: Tensor, seed: int, norm: float, steps: int, eps: float) -> None:
    model, y = linear(x, seed), torch.arange(len(x)) % 3
    before = x.clone()
    draws = Draws(seed, torch.arange(len(x)))
    x_adv = worst_case(model, x, y, ThreatModel(norm, eps), draws=draws, steps=steps, relative_step=2.5)
    assert torch.equal(x, before)
    assert bool((lengths((x_adv - x).double(), norm) <= eps * (1 + 1e-5) + 1e-6).all())
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())


@given(images(), seeds())
def test_without_a_radius_of_size_the_loss_is_plain_cross_entropy(x: Tensor, seed: int) -> None:
    model, y = linear(x, seed), torch.arange(len(x)) % 3
    draws, nothing = Draws(seed, torch.arange(len(x))), ThreatModel(math.inf, 0.0)
    assert_close(adversarial(model, x, y, nothing, draws=draws), plain(model, x, y, nothing, draws=draws))


def test_on_a_linear_net_the_worst_case_is_the_corner_that_can_be_written_down() -> None:
    x, y = torch.full((5, 1, 2, 3), 0.5), torch.tensor([0, 1, 0, 1, 1])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    weight = model[1].weight.detach()
    towards = weight[1 - y] - weight[y]  # (5, 6): where the logit difference grows
    draws = Draws(0, torch.arange(5))
    x_adv = worst_case(model, x, y, ThreatModel(math.inf, 0.25), draws=draws, steps=7, relative_step=2.5)
    assert_close(x_adv, x + 0.25 * towards.sign().reshape(x.shape))  # type: ignore[operator]


def test_gradients_reach_the_parameters_and_only_through_the_outer_loss() -> None:
    x, y = torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 2, 0])
    model, draws, threat = linear(x, 0), Draws(0, torch.arange(4)), ThreatModel(math.inf, 0.1)
    x_adv = worst_case(model, x, y, threat, draws=draws, steps=3, relative_step=2.5)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not x_adv.requires_grad
    loss = adversarial(model, x, y, threat, draws=draws, steps=3)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    expected = torch.autograd.grad(plain(model, x_adv, y, threat, draws=draws), list(model.parameters()))
    for grad, other in zip(grads, expected, strict=True):
        assert_close(grad, other)


def test_batch_normalisation_learns_from_the_outer_pass_alone() -> None:
    x, y = torch.rand(8, 1, 3, 3), torch.arange(8) % 3
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(9, 3)).train()
    adversarial(model, x, y, ThreatModel(math.inf, 0.1), draws=Draws(0, torch.arange(8)), steps=5)
    assert int(model[0].num_batches_tracked) == 1  # type: ignore[arg-type]
    assert all(module.training for module in model.modules())


def test_a_threat_without_a_radius_is_refused() -> None:
    x = torch.rand(1, 1, 2, 2)
    with pytest.raises(ValueError, match="radius"):
        adversarial(linear(x, 0), x, torch.tensor([0]), ThreatModel(2, None), draws=Draws(0, torch.arange(1)))
