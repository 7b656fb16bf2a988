"""The random-logit test: what knows the class, what does not, and what has nothing to compare."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attributions.gradient import gradient
from advbench.core.draws import Draws
from advbench.metrics.map_similarity import rank_correlation, structural_similarity
from advbench.metrics.random_logit import random_logit
from tests.attacks.small_nets import conv_net
from tests.strategies import seeds

X = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), seeds())
def test_the_other_class_is_another_and_every_other_one_comes(classes: int, seed: int) -> None:
    y, ids = torch.arange(600) % classes, torch.arange(600)
    found = random_logit(
        lambda y: y.double()[:, None, None, None].expand(-1, 1, 2, 2), y, classes, draws=Draws(seed, ids)
    )
    assert not bool((found.other == y).any())
    assert {int(other) for other, own in zip(found.other, y, strict=True) if own == 0} == set(range(1, classes))
    alone = random_logit(lambda y: torch.ones(1, 1, 2, 2), y[7:8], classes, draws=Draws(seed, ids[7:8]))
    assert int(alone.other) == int(found.other[7])


def test_a_map_that_never_looks_at_the_class_is_the_same_for_all() -> None:
    found = random_logit(lambda y: -X, torch.arange(5) % 4, 4)
    torch.testing.assert_close(found.correlation, torch.ones(5))
    torch.testing.assert_close(found.similarity, torch.ones(5))
    assert found.score == pytest.approx(1.0)


def test_the_numbers_are_those_of_the_maps() -> None:
    model, y = conv_net(), torch.tensor([0, 1, 2, 3, 0])

    def explain(classes: Tensor) -> Tensor:
        return gradient(model, X, classes)

    found = random_logit(explain, y, 4, draws=Draws(1, torch.arange(5)))
    first, second = (explain(classes).abs() for classes in (y, found.other))
    torch.testing.assert_close(found.correlation, rank_correlation(first, second))
    ends = [heat / heat.amax((1, 2, 3), keepdim=True) for heat in (first, second)]
    torch.testing.assert_close(found.similarity, structural_similarity(*ends))
    assert found.score == pytest.approx(float(found.correlation.mean()))
    assert found.score < 0.95


def test_a_silent_class_says_nothing() -> None:
    found = random_logit(lambda y: X * (y != 1)[:, None, None, None], torch.zeros(5, dtype=torch.int64), 2)
    assert bool(found.correlation.isnan().all())
    assert math.isnan(found.score)
    with pytest.raises(ValueError, match="two classes"):
        random_logit(lambda y: X, torch.zeros(5, dtype=torch.int64), 1)
