"""rise against models whose conditional means are known, and against a loop over masks drawn the slow way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.rise import _drawn, _enlarged, rise
from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.core.targets import logit, of_output
from advbench.types import ConfigError


class Planted(nn.Module):
    """One logit: the mean of the 4 x 4 square at rows 4 to 7, columns 8 to 11."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 4:8, 8:12].mean((1, 2, 3))[:, None]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(1, 20), st.integers(1, 20), st.floats(0.1, 0.9))
def test_a_mask_is_between_zero_and_one_and_a_constant_lattice_is_flat(
    grid: int, height: int, width: int, shown: float
) -> None:
    lattice, shift = _drawn(Draws(3, torch.arange(2)), 0, grid, shown)
    mask = _enlarged(lattice[:, :9].double(), shift[:, :9].double(), height, width)
    assert mask.shape == (2, 9, height, width)
    assert bool(((mask >= -1e-12) & (mask <= 1 + 1e-12)).all())
    flat = _enlarged(torch.ones(2, 9, grid, grid).double(), shift[:, :9].double(), height, width)
    assert torch.allclose(flat, torch.ones_like(flat))


def test_without_a_shift_it_is_the_corner_of_a_bilinear_enlargement() -> None:
    lattice = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    large = functional.interpolate(lattice, size=(20, 15), mode="bilinear")
    found = _enlarged(lattice, torch.zeros(1, 2, 2), 16, 12)
    assert torch.allclose(found, large[:, :, :16, :12], atol=1e-6)
    # A cell down and across: the corner at the other end.
    assert torch.allclose(_enlarged(lattice, torch.ones(1, 2, 2), 16, 12), large[:, :, 4:, 3:], atol=1e-6)


def test_it_is_the_weighted_mean_over_the_masks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 42, 4)).double().eval()
    x, y = torch.rand(2, 2, 8, 9).double(), torch.tensor([3, 1])
    draws = Draws(1, torch.tensor([7, 2]))
    lattice, shift = _drawn(draws, 0, 3, 0.4)
    mask = _enlarged(lattice[:, :20].double(), shift[:, :20].double(), 8, 9)
    for i in range(2):
        mixed = mask[i, :, None] * x[i] + (1 - mask[i, :, None]) * 0.5
        score = model(mixed)[:, int(y[i])]
        expected = torch.einsum("n,nhw->hw", score, mask[i]) / mask[i].sum(0) - score.mean()
        for size in (None, 3):
            with in_pieces(size):
                heat = rise(model, x, y, draws=draws, masks=20, grid=3, shown=0.4)
            assert torch.allclose(heat[i, 0], expected, atol=1e-10)


def test_a_score_that_looks_nowhere_gives_no_evidence() -> None:
    x = torch.rand(2, 1, 6, 6)
    flat = of_output(lambda output: torch.full((len(output),), 3.0))
    assert torch.allclose(rise(nn.Flatten(), x, flat, masks=30), torch.zeros(2, 1, 6, 6), atol=1e-5)


def test_it_points_at_the_planted_square() -> None:
    x = torch.ones(1, 3, 16, 16)
    heat = rise(Planted(), x, torch.tensor([0]), masks=600, baseline=0.0)[0, 0]
    row, column = divmod(int(heat.argmax()), 16)
    assert row in range(4, 8)
    assert column in range(8, 12)
    # Far away a pixel says nothing.
    assert float(heat[12:, :4].mean()) == pytest.approx(0.0, abs=0.06)


@settings(max_examples=10, deadline=None)
@given(st.floats(-100.0, 100.0))
def test_what_the_score_has_without_any_pixel_is_no_evidence(more: float) -> None:
    x = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    plain, raised = (of_output(lambda out, m=m: out[:, 7] + m) for m in (0.0, more))
    maps = [rise(nn.Flatten(), x, score, masks=50) for score in (plain, raised)]
    assert torch.allclose(*maps, atol=1e-10)


def test_more_masks_begin_with_the_same_ones() -> None:
    """600 masks are three blocks of 200: the first block alone weighs a third."""
    x, y = torch.rand(1, 1, 5, 5), logit(0)
    short, long = (rise(nn.Flatten(), x, y, masks=count) for count in (400, 401))
    assert float((short - long).abs().max()) < 0.01
    assert not torch.equal(short, long)


def test_parameters_out_of_range_are_refused() -> None:
    x, y = torch.rand(1, 1, 4, 4), torch.tensor([0])
    for masks, grid, shown in ((0, 8, 0.5), (10, 0, 0.5), (10, 8, 1.0)):
        with pytest.raises(ConfigError, match="rise: needs"):
            rise(nn.Flatten(), x, y, masks=masks, grid=grid, shown=shown)
    with pytest.raises(ConfigError, match="baseline"):
        rise(nn.Flatten(), x, y, baseline="grey")
