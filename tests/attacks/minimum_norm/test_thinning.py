"""thinned puts back changed components one at a time, the least changed first."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.minimum_norm.approach import Sight
from advbench.attacks.minimum_norm.thinning import thinned


def sight(x: Tensor, best: Tensor) -> Sight:
    one = torch.ones(len(x))
    return Sight(best, x, torch.arange(len(x)), one, one > 0, torch.zeros_like(x), one > 0, best, one)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_tried_often_enough_no_component_is_left_to_spare(seed: int, count: int) -> None:
    """An example counts as one while its changes weigh more than 1: a linear model."""
    generator = torch.Generator().manual_seed(seed)
    weight, x = torch.rand(9, generator=generator), torch.zeros(1, 1, 3, 3)
    best = torch.zeros(9).index_fill(0, torch.randperm(9, generator=generator)[:count], 1.0)
    best = (best * (0.5 + 0.5 * torch.rand(9, generator=generator))).reshape(x.shape)
    need, tried = 0.4 * float((best.flatten() * weight).sum()), torch.zeros_like(x, dtype=torch.bool)
    for _ in range(2 * count):
        z, tried = thinned(sight(x, best), tried)
        assert int((z != best).sum()) == 1
        assert int((z != x).sum()) == int((best != x).sum()) - 1
        best = z if float((z.flatten() * weight).sum()) >= need else best
    shares = best.flatten() * weight
    assert float(shares.sum()) >= need
    assert all(float(shares.sum() - share) < need for share in shares if share > 0)


def test_the_least_changed_come_first_and_all_come_again() -> None:
    x = torch.zeros(1, 1, 1, 3)
    best = torch.tensor([0.5, 0.0, -0.25]).reshape(x.shape)
    tried, seen = torch.zeros_like(x, dtype=torch.bool), []
    for _ in range(3):
        z, tried = thinned(sight(x, best), tried)
        seen.append(z.flatten().tolist())
    assert seen == [[0.5, 0.0, 0.0], [0.0, 0.0, -0.25], [0.5, 0.0, 0.0]]
