"""linear_imputation: the equations of the paper, solved; against a dense solver, and on images with a known answer."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.linear_imputation import linear_imputation
from tests.strategies import seeds


def solved_one_by_one(x: Tensor, hidden: Tensor) -> Tensor:
    """(C, H, W): every hidden pixel's equation written out as a row of a dense matrix."""
    filled, places = x.clone().numpy(), [tuple(place) for place in hidden.nonzero().tolist()]
    number = {place: i for i, place in enumerate(places)}
    matrix, right = np.zeros((len(places), len(places))), np.zeros((len(places), len(x)))
    for (row, column), i in number.items():
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                there = (row + down, column + across)
                inside = 0 <= there[0] < x.shape[1] and 0 <= there[1] < x.shape[2]
                if (down, across) == (0, 0) or not inside:
                    continue
                weight = 1 / 12 if down and across else 1 / 6
                matrix[i, i] += weight
                if there in number:
                    matrix[i, number[there]] -= weight
                else:
                    right[i] += weight * filled[:, there[0], there[1]]
    answer = np.linalg.solve(matrix, right)
    for place, i in number.items():
        filled[:, place[0], place[1]] = answer[i]
    return torch.from_numpy(filled)


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9), st.floats(0.0, 0.95), seeds())
def test_it_is_the_solution_of_the_system(channels: int, height: int, width: int, share: float, seed: int) -> None:
    maker = torch.Generator().manual_seed(seed)
    x = torch.rand(3, channels, height, width, generator=maker, dtype=torch.float64)
    hidden = torch.rand(3, height, width, generator=maker) < share
    hidden[:, 0, 0] = False
    before = x.clone()
    found = linear_imputation(x, hidden, tolerance=1e-12)
    for i in range(3):
        torch.testing.assert_close(found[i], solved_one_by_one(x[i], hidden[i]), rtol=0, atol=1e-9)
        torch.testing.assert_close(linear_imputation(x[i : i + 1], hidden[i : i + 1], tolerance=1e-12)[0], found[i])
    seen = ~hidden[:, None].expand_as(x)
    assert torch.equal(found[seen], x[seen])
    assert torch.equal(x, before)
    low, high = x.amin(), x.amax()
    assert bool(((found >= low - 1e-9) & (found <= high + 1e-9)).all())


def test_a_ramp_is_continued_through_a_hole() -> None:
    """A plane is the mean of its neighbours everywhere, so it is the one answer."""
    x = (torch.arange(24.0)[:, None] + 2.0 * torch.arange(30.0)).expand(1, 1, 24, 30) / 90.0
    hidden = torch.zeros(1, 24, 30, dtype=torch.bool)
    hidden[:, 4:20, 5:25] = True
    torch.testing.assert_close(linear_imputation(x.double(), hidden), x.double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(linear_imputation(x, hidden), x, rtol=0, atol=1e-4)


def test_nothing_hidden_all_hidden_and_no_images() -> None:
    x = torch.rand(2, 3, 5, 4)
    nothing = torch.zeros(2, 5, 4, dtype=torch.bool)
    assert torch.equal(linear_imputation(x, nothing), x)
    assert torch.equal(linear_imputation(x, ~nothing), torch.full_like(x, 0.5))
    assert linear_imputation(x[:0], nothing[:0]).shape == (0, 3, 5, 4)
    assert torch.equal(linear_imputation(x[:, :, :1, :1], ~nothing[:, :1, :1]), torch.full((2, 3, 1, 1), 0.5))
