"""The critics of two domains: each loss moves its own weights alone, and one training tells two domains apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from advbench.synthesis.feed_forward.domains import Critic, critic_loss, maker_loss


class Mean(nn.Module):
    """A critic that can be followed by hand: the mean of the picture times a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x.mean((1, 2, 3), keepdim=True)


def test_the_losses_by_hand() -> None:
    real, made = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.25)
    critic = Mean(2.0)  # gives 1 to real and 0.5 to made
    assert critic_loss(critic, real, made).item() == pytest.approx(0.5 * 0.5**2)
    assert maker_loss(critic, made).item() == pytest.approx(0.5**2)


def test_each_loss_moves_its_own_weights_alone() -> None:
    critic = Critic()
    made = torch.rand(2, 3, 16, 16, requires_grad=True)
    maker_loss(critic, made).backward()
    assert made.grad is not None
    assert made.grad.abs().max() > 0
    assert all(weight.grad is None for weight in critic.parameters())
    made.grad = None
    critic_loss(critic, torch.rand(2, 3, 16, 16), made).backward()
    assert made.grad is None
    assert all(weight.grad is not None for weight in critic.parameters())


def test_a_critic_learns_to_tell_two_domains_apart() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        critic = Critic()
        smooth, rough = torch.rand(8, 3, 1, 1).expand(-1, -1, 16, 16), torch.rand(8, 3, 16, 16)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        critic_loss(critic, rough, smooth).backward()
        optimizer.step()
    with torch.no_grad():
        assert critic(rough).mean((1, 2, 3)).min() > critic(smooth).mean((1, 2, 3)).max()
