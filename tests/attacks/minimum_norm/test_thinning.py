"""thinned puts back changed components one at a time, the least changed first; swapped trades one for a better one."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.minimum_norm.approach import Sight
from advbench.attacks.minimum_norm.thinning import swapped, thinned
from advbench.types import ThreatModel


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


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(2, 8))
def test_no_other_swap_lowers_a_linear_loss_more(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    grad, x = torch.randn(9, generator=generator), torch.rand(9, generator=generator)
    places = torch.randperm(9, generator=generator)[:count]
    best = x.scatter(0, places, torch.rand(count, generator=generator))
    z = best.index_copy(0, places[:1], x[places[:1]])  # the first was put back, and that was one too many
    shape, no = (1, 1, 3, 3), torch.tensor([False])
    seen = sight(x.reshape(shape), best.reshape(shape))._replace(
        z=z.reshape(shape), grad=grad.reshape(shape), reached=no
    )
    other, in_vain = swapped(seen, ThreatModel(0.0, None))
    assert bool(in_vain)
    other = other.flatten()
    ends = (grad < 0).float()
    losses = []
    for given_up in places[1:].tolist():
        for taken in set(range(9)) - set(places.tolist()):
            point = x.clone()
            for k in [*(place for place in places[1:].tolist() if place != given_up), taken]:
                point[k] = ends[k]
            losses.append(float(grad @ point))
    if len(places) < 9:
        assert float(grad @ other) <= min(losses) + 1e-5
    assert int((other != x).sum()) <= count - 1


def test_there_is_nothing_to_swap_after_a_success_or_on_the_walk() -> None:
    x, best = torch.zeros(1, 1, 1, 3), torch.tensor([1.0, 1.0, 0.0]).reshape(1, 1, 1, 3)
    fewer, elsewhere = (torch.tensor(each).reshape(x.shape) for each in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]))
    one, no = torch.tensor([True]), torch.tensor([False])
    for z, reached, expected in ((fewer, no, True), (fewer, one, False), (elsewhere, no, False), (best, no, False)):
        seen = sight(x, best)._replace(z=z, reached=reached, grad=-torch.ones_like(x))
        assert bool(swapped(seen, ThreatModel(0.0, None))[1]) == expected
    assert not bool(swapped(sight(x, best)._replace(z=fewer, reached=no, found=no), ThreatModel(0.0, None))[1])
