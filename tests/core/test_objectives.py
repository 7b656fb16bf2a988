"""Objectives: the sign is chosen here, rows pick the labels, reached is what it says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.losses import cross_entropy, kl, margin_loss
from advbench.core.objectives import diverge, excite, firmly, misclassify, slack_of, through
from tests.strategies import logits_and_labels

IDENTITY = nn.Identity()  # its logits are its input


@given(logits_and_labels(), st.sampled_from([cross_entropy, margin_loss]))
def test_untargeted_lowers_minus_the_loss_until_the_label_is_gone(case: tuple[Tensor, Tensor], loss: object) -> None:
    logits, y = case
    chosen = cross_entropy if loss is cross_entropy else margin_loss
    evaluation = misclassify(IDENTITY, y, loss=chosen)(logits, torch.arange(len(y)))
    torch.testing.assert_close(evaluation.loss, -chosen(logits, y))
    assert torch.equal(evaluation.reached, logits.argmax(1) != y)


@given(logits_and_labels())
def test_targeted_is_the_exact_opposite(case: tuple[Tensor, Tensor]) -> None:
    logits, y = case
    rows = torch.arange(len(y))
    away, onto = misclassify(IDENTITY, y)(logits, rows), misclassify(IDENTITY, y, targeted=True)(logits, rows)
    assert torch.equal(onto.loss, -away.loss)
    assert torch.equal(onto.reached, ~away.reached)


@given(logits_and_labels(), st.permutations(range(4)))
def test_rows_say_whose_label_and_whose_reference_it_is(case: tuple[Tensor, Tensor], order: list[int]) -> None:
    logits, y = case
    rows = torch.tensor(order[:2])
    for objective in (misclassify(IDENTITY, y), diverge(IDENTITY, logits.flip(1))):
        whole, part = objective(logits, torch.arange(4)), objective(logits[rows], rows)
        assert torch.equal(part.loss, whole.loss[rows])
        assert torch.equal(part.reached, whole.reached[rows])


@given(logits_and_labels())
def test_diverge_leaves_the_distribution_not_a_label(case: tuple[Tensor, Tensor]) -> None:
    logits, _ = case
    other = logits.flip(1)
    evaluation = diverge(IDENTITY, logits)(other, torch.arange(len(logits)))
    torch.testing.assert_close(evaluation.loss, -kl(logits, other))
    assert torch.equal(evaluation.reached, other.argmax(1) != logits.argmax(1))
    assert not diverge(IDENTITY, logits)(logits, torch.arange(len(logits))).reached.any()


def test_excite_raises_a_score_and_is_never_done() -> None:
    evaluation = excite(lambda z: z.sum(1))(torch.tensor([[1.0, 2.0], [0.0, 5.0]]), torch.arange(2))
    assert evaluation.loss.tolist() == [-3.0, -5.0]
    assert evaluation.reached.tolist() == [False, False]


def test_through_looks_at_the_decoded_variables() -> None:
    objective = through(lambda z: 10.0 * z, excite(lambda image: image.sum(1)))
    assert objective(torch.tensor([[1.0, 2.0]]), torch.arange(1)).loss.tolist() == [-30.0]


@given(logits_and_labels(), st.floats(0.0, 1e6))
def test_a_firm_goal_is_the_same_goal_a_little_further_away(case: tuple[Tensor, Tensor], scale: float) -> None:
    logits, y = case
    rows = torch.arange(len(y))
    plain = misclassify(IDENTITY, y, loss=margin_loss)
    at_x = torch.full((len(y),), -scale, dtype=logits.dtype)
    slack = slack_of(at_x)
    loss, reached = firmly(plain, slack)(logits, rows)
    before = plain(logits, rows)
    torch.testing.assert_close(loss, before.loss + slack)
    assert torch.equal(reached, before.reached & (before.loss <= -slack))


def test_by_hand_a_lead_of_less_than_a_hundred_thousandth_is_none() -> None:
    logits, y = torch.tensor([[0.0, 9e-6], [0.0, 2e-5], [0.0, 9e-6]]), torch.tensor([0, 0, 0])
    goal = firmly(misclassify(IDENTITY, y, loss=margin_loss), slack_of(torch.tensor([1.0, -1.0, 0.5])))
    assert goal(logits, torch.arange(3)).reached.tolist() == [False, True, True]


def test_by_hand_the_digits_of_large_logits_count_too() -> None:
    assert slack_of(torch.tensor([1.0, -0.5]), torch.tensor([[0.0, 1.0], [-20.0, 19.5]])).tolist() == pytest.approx(
        [1.1e-5, 2.5e-5]
    )
