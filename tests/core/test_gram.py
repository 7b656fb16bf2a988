"""Gram matrices: laws, conventions, and an example by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.gram import distance_from_gram, gram, gram_distance, loss_factor
from advbench.types import ConfigError


@st.composite
def maps(draw: st.DrawFn) -> Tensor:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@given(maps(), st.integers(0, 99))
def test_positions_may_be_permuted_but_the_matrix_stays(x: Tensor, seed: int) -> None:
    order = torch.randperm(x.shape[2] * x.shape[3], generator=torch.Generator().manual_seed(seed))
    shuffled = x.flatten(2)[:, :, order].reshape(x.shape)
    torch.testing.assert_close(gram(shuffled), gram(x))


@given(maps())
def test_symmetric_positive_and_its_trace_is_the_mean_energy(x: Tensor) -> None:
    g = gram(x)
    torch.testing.assert_close(g, g.transpose(1, 2))
    assert float(torch.linalg.eigvalsh(g).min()) >= -1e-8
    energy = x.square().sum((1, 2, 3)) / (x.shape[2] * x.shape[3])
    torch.testing.assert_close(g.diagonal(dim1=1, dim2=2).sum(1), energy)


@given(maps(), st.floats(0.1, 5.0))
def test_it_scales_with_the_square_and_does_not_see_tiling(x: Tensor, factor: float) -> None:
    torch.testing.assert_close(gram(factor * x), factor**2 * gram(x))
    torch.testing.assert_close(gram(x.repeat(1, 1, 2, 2)), gram(x))


@given(maps())
def test_each_sample_has_its_own(x: Tensor) -> None:
    torch.testing.assert_close(torch.cat([gram(each[None]) for each in x]), gram(x))


def test_two_channels_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # products: 1 + 4, 3 - 2, 9 + 1; two positions
    assert gram(x).tolist() == [[[2.5, 0.5], [0.5, 5.0]]]


@given(maps())
def test_conventions_are_a_factor_apart(x: Tensor) -> None:
    y = x.flip(1) * 0.7 + 0.2
    channels, positions = x.shape[1], x.shape[2] * x.shape[3]
    s, t = (each.flatten(2) @ each.flatten(2).transpose(1, 2) for each in (x, y))
    ours = gram_distance(gram(x), gram(y))
    theirs = {
        "gatys": (s - t).square().sum((1, 2)) / (4 * channels**2 * positions**2),
        "sum": (s - t).square().sum((1, 2)),
        "positions": ((s - t) / positions).square().sum((1, 2)),
        "elements": ((s - t) / (positions * channels)).square().sum((1, 2)),
        "mean of elements": ((s - t) / (positions * channels)).square().mean((1, 2)),
    }
    for name, value in theirs.items():
        torch.testing.assert_close(ours * loss_factor(name, channels, positions), value)


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(ConfigError, match="no Gram convention 'mean'"):
        loss_factor("mean", 3, 4)


@given(maps())
def test_gradient_of_the_gatys_loss_is_the_one_of_the_paper(x: Tensor) -> None:
    y = (x.flip(2) * 0.7 + 0.2).relu()
    x = x.relu().requires_grad_(True)
    channels, positions = x.shape[1], x.shape[2] * x.shape[3]
    loss = loss_factor("gatys", channels, positions) * gram_distance(gram(x), gram(y))
    (found,) = torch.autograd.grad(loss.sum(), x)
    flat, other = x.detach().flatten(2), y.flatten(2)
    difference = flat @ flat.transpose(1, 2) - other @ other.transpose(1, 2)
    # arXiv:1505.07376, equation 4: F^T (G - A) / (N^2 M^2).
    wanted = (difference @ flat / (channels * positions) ** 2).reshape(x.shape)
    torch.testing.assert_close(found, wanted)


@given(maps(), st.booleans(), st.integers(0, 99))
def test_the_distance_formed_at_once_is_that_of_two_matrices(x: Tensor, together: bool, seed: int) -> None:
    order = torch.channels_last if together else torch.contiguous_format
    x = x.contiguous(memory_format=order).requires_grad_(True)
    wanted = gram(torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    weights = torch.arange(1.0, len(x) + 1.0, dtype=torch.float64)
    found, expected = distance_from_gram(x, wanted), gram_distance(gram(x), wanted)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(each, x, weights)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes)
    assert all(slope.is_contiguous(memory_format=order) for slope in slopes)
    assert torch.autograd.gradcheck(lambda z: distance_from_gram(z, wanted), (x,))
