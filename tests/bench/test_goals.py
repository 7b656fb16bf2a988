"""Targets: never the label, always a class, fixed by the sample id."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.bench.goals import GOALS, check_goal, targets
from advbench.core.draws import Draws
from advbench.types import ConfigError
from tests.strategies import logits_and_labels


@given(logits_and_labels(), st.sampled_from([goal for goal in GOALS if goal != "untargeted"]))
def test_a_target_is_another_class(drawn: tuple[Tensor, Tensor], goal: str) -> None:
    logits, y = drawn
    target = targets(goal, logits, y, Draws(0, torch.arange(len(y))))
    assert bool(((target >= 0) & (target < logits.shape[1]) & (target != y)).all())


@given(logits_and_labels())
def test_least_likely_is_the_lowest_logit_among_the_others(drawn: tuple[Tensor, Tensor]) -> None:
    logits, y = drawn
    target = targets("least_likely", logits, y, Draws(0, torch.arange(len(y))))
    others = logits.scatter(1, y[:, None], torch.inf)
    assert torch.equal(logits.gather(1, target[:, None])[:, 0], others.amin(1))


def test_random_targets_cover_all_other_classes_and_follow_the_sample() -> None:
    y, logits = torch.zeros(500, dtype=torch.int64), torch.zeros(500, 5)
    draws = Draws(3, torch.arange(500))
    target = targets("random", logits, y, draws)
    assert set(target.tolist()) == {1, 2, 3, 4}
    flipped = targets("random", logits, y, draws.rows(torch.arange(499, -1, -1)))
    assert torch.equal(flipped.flip(0), target)


def test_a_given_class_does_not_apply_to_its_own_samples() -> None:
    y = torch.tensor([0, 1, 2])
    assert targets("1", torch.zeros(3, 3), y, Draws(0, y)).tolist() == [1, -1, 1]


def test_a_single_class_leaves_nowhere_to_go() -> None:
    y = torch.zeros(2, dtype=torch.int64)
    assert targets("next", torch.zeros(2, 1), y, Draws(0, y)).tolist() == [-1, -1]


@pytest.mark.parametrize("goal", ["nearest", "-1", "10"])
def test_an_unknown_goal_is_refused(goal: str) -> None:
    with pytest.raises(ConfigError, match="no goal"):
        check_goal(goal, 10)
