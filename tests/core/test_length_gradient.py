"""length_gradient is what autograd says of the norm, and zero at zero."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from advbench.core.length_gradient import length_gradient
from advbench.core.norms import lengths
from tests.strategies import seeds


@given(seeds(), st.sampled_from((1.0, 2.0)))
def test_it_equals_autograd(seed: int, norm: float) -> None:
    delta = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    leaf = delta.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(lengths(leaf, norm).sum(), leaf)
    assert_close(length_gradient(delta, norm), expected)


@pytest.mark.parametrize("norm", [1.0, 2.0])
def test_it_is_zero_at_zero(norm: float) -> None:
    assert not length_gradient(torch.zeros(2, 3), norm).any()


def test_an_example_by_hand() -> None:
    delta = torch.tensor([[3.0, 0.0, -4.0]])
    assert_close(length_gradient(delta, 2.0), torch.tensor([[0.6, 0.0, -0.8]]))
    assert_close(length_gradient(delta, 1.0), torch.tensor([[1.0, 0.0, -1.0]]))
