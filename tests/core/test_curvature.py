"""What is remembered of a loss multiplies a gradient like the matrix of BFGS."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.curvature import newton_like, no_curvature, remembered
from tests.strategies import seeds


def dense(pairs: list[tuple[Tensor, Tensor]], size: int) -> Tensor:
    """The inverse Hessian of BFGS after `pairs`, as a matrix: equations 6.17 and 6.20 of Nocedal and Wright."""
    s, t = pairs[-1]
    matrix = torch.eye(size, dtype=torch.float64) * (s @ t) / (t @ t)
    for s, t in pairs:
        left = torch.eye(size, dtype=torch.float64) - torch.outer(s, t) / (s @ t)
        matrix = left @ matrix @ left.T + torch.outer(s, s) / (s @ t)
    return matrix


@given(seeds(), st.integers(1, 6), st.integers(1, 4), st.integers(1, 6))
def test_it_is_the_matrix_of_bfgs_for_each_sample(seed: int, size: int, memory: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(3, 1, 1, size, generator=generator, dtype=torch.float64)
    moves, turns = (torch.randn(count, *z.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    known = no_curvature(z, memory)
    assert torch.equal(newton_like(known, z), z)
    for move, turn in zip(moves, turns, strict=True):
        known = remembered(known, move, turn)
    found = newton_like(known, z)
    for i in range(3):
        pairs = [(move[i].flatten(), turn[i].flatten()) for move, turn in zip(moves, turns, strict=True)]
        curved = [(s, t) for s, t in pairs if s @ t > 1e-10 * (t @ t)][-memory:]
        expected = dense(curved, size) @ z[i].flatten() if curved else z[i].flatten()
        torch.testing.assert_close(found[i].flatten(), expected, rtol=1e-6, atol=1e-6)


def test_samples_that_leave_take_what_is_known_of_them_along() -> None:
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    known = no_curvature(z, 3)
    for move in (z, z.flip(1)):
        known = remembered(known, move, 2.0 * move + move.roll(1, 1) * 0.1)
    index = torch.tensor([2, 0])
    torch.testing.assert_close(newton_like(known.rows(index), z[index]), newton_like(known, z)[index])


def test_a_move_that_was_not_made_is_not_remembered() -> None:
    z = torch.ones(1, 2)
    known = remembered(no_curvature(z, 3), torch.zeros(1, 2), torch.zeros(1, 2))
    assert not torch.stack(known.inverse).any()
    assert torch.equal(newton_like(known, z), z)
