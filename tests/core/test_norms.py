"""Lengths against torch.linalg, and the inequality that makes a dual norm."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.norms import dual, lengths, per_sample
from tests.strategies import deltas, deltas_like, norms


@given(deltas(batch=st.integers(0, 4)), norms())
def test_lengths_are_those_of_torch_linalg(delta: Tensor, norm: float) -> None:
    expected = torch.linalg.vector_norm(delta.flatten(1), ord=norm, dim=1)
    found = lengths(delta, norm)
    assert found.dtype == delta.dtype
    torch.testing.assert_close(found, expected)


@given(st.data(), norms(1.0, 2.0, math.inf))
def test_dual_norm_bounds_the_inner_product(data: st.DataObject, norm: float) -> None:
    u = data.draw(deltas(dtype=torch.float64))
    v = data.draw(deltas_like(u))
    product = (u * v).flatten(1).sum(1).abs()
    bound = lengths(u, norm) * lengths(v, dual(norm))
    assert bool((product <= bound * (1 + 1e-12)).all())


@given(deltas(dtype=torch.float64), norms(1.0, 2.0, math.inf))
def test_dual_norm_is_the_least_such_bound(v: Tensor, norm: float) -> None:
    """Some u of length 1 reaches it."""
    flat = v.flatten(1)
    largest = torch.zeros_like(flat).scatter(1, flat.abs().argmax(1, keepdim=True), 1.0)
    length = lengths(v, 2.0)[:, None]
    u = {1.0: largest * flat.sign(), 2.0: flat / length.where(length > 0, 1.0), math.inf: flat.sign()}[norm]
    assert bool((lengths(u, norm) <= 1 + 1e-12).all())
    torch.testing.assert_close((u * flat).sum(1), lengths(v, dual(norm)))


@given(norms(1.0, 2.0, math.inf))
def test_dual_of_the_dual_is_the_norm(norm: float) -> None:
    assert dual(dual(norm)) == norm


@pytest.mark.parametrize(("norm", "length"), [(0.0, 2.0), (1.0, 7.0), (2.0, 5.0), (math.inf, 4.0)])
def test_three_and_four_have_the_known_lengths(norm: float, length: float) -> None:
    assert lengths(torch.tensor([[[[3.0, 0.0], [0.0, -4.0]]]]), norm).tolist() == [length]


@given(norms())
def test_an_image_without_pixels_has_length_zero(norm: float) -> None:
    assert lengths(torch.zeros(2, 0), norm).tolist() == [0.0, 0.0]


def test_per_sample_broadcasts_one_value_over_each_image() -> None:
    like = torch.ones(2, 3, 4, 5)
    scaled = like * per_sample(torch.tensor([1.0, 2.0]), like)
    assert scaled.flatten(1).unique(dim=1).flatten().tolist() == [1.0, 2.0]
    assert per_sample(0.5, like) == 0.5
