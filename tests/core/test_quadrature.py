"""gauss_legendre integrates polynomials exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.quadrature import gauss_legendre

LIKE = torch.zeros((), dtype=torch.float64)


@given(st.integers(1, 40), st.data())
def test_polynomials_of_twice_the_degree_are_exact(count: int, data: st.DataObject) -> None:
    degree = data.draw(st.integers(0, 2 * count - 1))
    nodes, weights = gauss_legendre(count, LIKE)
    assert float((weights * nodes**degree).sum()) == pytest.approx(1.0 / (degree + 1), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 50, 512])
def test_nodes_lie_inside_and_weights_sum_to_one(count: int) -> None:
    nodes, weights = gauss_legendre(count, LIKE)
    assert nodes.shape == weights.shape == (count,)
    assert bool(((nodes > 0) & (nodes < 1) & (weights > 0)).all())
    assert float(weights.sum()) == pytest.approx(1.0, rel=1e-13)


def test_two_nodes_by_hand() -> None:
    nodes, weights = gauss_legendre(2, LIKE)
    assert nodes.tolist() == pytest.approx([0.5 - 12**-0.5, 0.5 + 12**-0.5])
    assert weights.tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match="at least 1"):
        gauss_legendre(0, LIKE)
