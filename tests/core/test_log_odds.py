"""log_odds: the direction of cross entropy, also where cross entropy has lost it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from advbench.core.log_odds import log_odds
from advbench.core.losses import cross_entropy
from tests.strategies import seeds


def scores(seed: int, classes: int, scale: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(5, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (5,), generator=generator)


@given(seeds(), st.integers(2, 6), st.floats(0.1, 5.0))
def test_cross_entropy_is_softplus_of_the_log_odds(seed: int, classes: int, scale: float) -> None:
    logits, y = scores(seed, classes, scale)
    assert_close(torch.nn.functional.softplus(log_odds(logits, y)), cross_entropy(logits, y))


@given(seeds(), st.integers(2, 6), st.floats(0.1, 5.0))
def test_gradients_have_the_direction_of_cross_entropy(seed: int, classes: int, scale: float) -> None:
    logits, y = scores(seed, classes, scale)
    directions = []
    for loss in (log_odds, cross_entropy):
        leaf = logits.clone().requires_grad_(True)
        (grad,) = torch.autograd.grad(loss(leaf, y).sum(), leaf)
        directions.append(grad / grad.norm(dim=1, keepdim=True))
    assert_close(*directions)


def test_a_saturated_score_keeps_its_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    assert not torch.autograd.grad(cross_entropy(logits, y).sum(), logits)[0].any()
    (grad,) = torch.autograd.grad(log_odds(logits, y).sum(), logits)
    assert_close(grad, torch.tensor([[-1.0, 0.5, 0.5]]))
