"""Losses per sample: invariances first, then torch, then numbers by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from advbench.core.losses import Loss, cross_entropy, dlr, kl, margin, margin_loss, targeted_dlr
from tests.strategies import logits_and_labels

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "margin_loss": margin_loss,
    "dlr": dlr,
    "targeted_dlr": lambda logits, y: targeted_dlr((y + 1) % logits.shape[1])(logits, y),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@given(logits_and_labels(), st.floats(-50, 50))
def test_a_constant_added_to_all_logits_changes_nothing(loss: Loss, case: tuple[Tensor, Tensor], shift: float) -> None:
    logits, y = case
    torch.testing.assert_close(loss(logits + shift, y), loss(logits, y), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["dlr", "targeted_dlr"])
@given(case=logits_and_labels(classes=st.integers(4, 8)), factor=st.floats(0.1, 100))
def test_the_ratio_is_blind_to_the_scale_of_the_logits(name: str, case: tuple[Tensor, Tensor], factor: float) -> None:
    logits, y = case
    torch.testing.assert_close(LOSSES[name](factor * logits, y), LOSSES[name](logits, y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@given(logits_and_labels())
def test_a_sample_has_its_own_loss(loss: Loss, case: tuple[Tensor, Tensor]) -> None:
    logits, y = case
    alone = [loss(logits[i : i + 1], y[i : i + 1]) for i in range(len(y))]
    assert loss(logits, y).shape == y.shape
    torch.testing.assert_close(loss(logits, y), torch.cat(alone))


@given(logits_and_labels(classes=st.integers(3, 8)))
def test_margin_and_dlr_are_negative_for_the_label_exactly_where_it_is_predicted(case: tuple[Tensor, Tensor]) -> None:
    logits, y = case
    predicted = logits.argmax(1) == y
    assert torch.equal(margin(logits, y) > 0, predicted)
    assert torch.equal(margin_loss(logits, y) < 0, predicted)
    assert torch.equal(dlr(logits, y) < 0, predicted)
    assert float(dlr(logits, y).min()) >= -1.0 - 1e-9


@given(logits_and_labels())
def test_cross_entropy_is_that_of_torch(case: tuple[Tensor, Tensor]) -> None:
    logits, y = case
    expected = -logits.log_softmax(1)[torch.arange(len(y)), y]
    torch.testing.assert_close(cross_entropy(logits, y), expected)


@given(st.data())
def test_divergence_is_that_of_torch_and_never_negative(data: st.DataObject) -> None:
    count = st.just(data.draw(st.integers(2, 8)))
    p, q = data.draw(logits_and_labels(classes=count))[0], data.draw(logits_and_labels(classes=count))[0]
    expected = functional.kl_div(q.log_softmax(1), p.log_softmax(1), log_target=True, reduction="none").sum(1)
    torch.testing.assert_close(kl(p, q), expected, atol=1e-12, rtol=1e-9)
    assert float(kl(p, q).min()) >= -1e-12
    torch.testing.assert_close(kl(p, p + 3.0), torch.zeros(len(p), dtype=p.dtype), atol=1e-12, rtol=0)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_are_defined_and_so_are_their_gradients(loss: Loss, classes: int) -> None:
    logits = torch.randn(
        5, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    value = loss(logits, torch.arange(5) % classes)
    (grad,) = torch.autograd.grad(value.sum(), logits)
    assert bool(value.isfinite().all() & grad.isfinite().all())
    assert bool(grad.any(1).all())


def test_with_one_class_nothing_can_be_confused() -> None:
    logits, y = torch.tensor([[2.0]]), torch.tensor([0])
    assert margin(logits, y).tolist() == [math.inf]
    assert dlr(logits, y).tolist() == [-math.inf]
    assert cross_entropy(logits, y).tolist() == [0.0]


def test_equal_logits_do_not_divide_by_zero() -> None:
    logits, y = torch.ones(1, 5), torch.tensor([2])
    assert dlr(logits, y).tolist() == [0.0]
    assert targeted_dlr(torch.tensor([1]))(logits, y).tolist() == [0.0]


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_an_empty_batch_has_no_losses(loss: Loss) -> None:
    assert loss(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)).shape == (0,)


def test_numbers_to_check_by_hand() -> None:
    """Logits 5, 3, 2, 0 with label 1: margin 3 - 5; dlr (5 - 3) / (5 - 2); to class 2: (2 - 3) / (5 - (2 + 0) / 2)."""
    logits, y = torch.tensor([[5.0, 3.0, 2.0, 0.0]]).double(), torch.tensor([1])
    assert margin(logits, y).item() == -2.0
    assert dlr(logits, y).item() == pytest.approx(2 / 3)
    assert dlr(logits, torch.tensor([0])).item() == pytest.approx(-2 / 3)
    assert targeted_dlr(torch.tensor([2]))(logits, y).item() == pytest.approx(-1 / 4)
    assert margin(torch.tensor([[-1.0, -2.0]]), torch.tensor([0])).item() == 1.0  # all negative: the label is no 0
    even = torch.zeros(1, 2)
    assert cross_entropy(even, torch.tensor([0])).item() == pytest.approx(math.log(2))
    odds = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4, 1/4
    assert kl(odds, even).item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
