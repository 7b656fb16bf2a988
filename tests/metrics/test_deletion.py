"""Deletion and insertion curves: laws of the order, then a planted truth, then numbers to check by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.core.targets import logit
from advbench.metrics.deletion import deletion
from advbench.metrics.hiding import pixel_ranks
from advbench.metrics.insertion import insertion


def net(channels: int = 2) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        ).double()


class Planted(nn.Module):
    """Logits (B, 2): the mean of the 4 x 4 square at rows 4 to 7, columns 8 to 11, and 0."""

    def forward(self, x: Tensor) -> Tensor:
        value = x[:, :, 4:8, 8:12].mean((1, 2, 3))
        return torch.stack([value, torch.zeros_like(value)], 1)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["mean", "surroundings"]),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 10**6),
)
def test_deleting_an_order_is_inserting_the_reversed_one_backwards(
    baseline: str, rows: int, half: int, steps: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, 2, rows, 2 * half, generator=generator).double()
    order = torch.stack([torch.randperm(rows * 2 * half, generator=generator) for _ in range(3)])
    heat = order.reshape(3, 1, rows, 2 * half).double()
    y = torch.tensor([0, 2, 1])
    gone = deletion(net(), x, y, heat, steps=steps, baseline=baseline)
    back = insertion(net(), x, y, -heat, steps=steps, baseline=baseline)
    assert torch.allclose(gone.score, back.score.flip(1), atol=1e-12)
    assert torch.allclose(gone.area, back.area, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_it_begins_at_the_image_ends_at_the_blank_and_the_area_is_the_trapezoids(steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, heat = torch.rand(2, 2, 5, 7, generator=generator).double(), torch.rand(2, 2, 5, 7, generator=generator)
    y = torch.tensor([1, 0])
    curve = deletion(net(), x, y, heat, steps=steps)
    chance = net()(x).softmax(1).gather(1, y[:, None])[:, 0]
    empty = net()(torch.full_like(x, 0.5)).softmax(1).gather(1, y[:, None])[:, 0]
    assert torch.allclose(curve.score[:, 0], chance)
    assert torch.allclose(curve.score[:, -1], empty)
    assert curve.score.shape == (2, steps + 1)
    width = curve.fractions[1:] - curve.fractions[:-1]
    assert torch.allclose(curve.area, (width * (curve.score[:, 1:] + curve.score[:, :-1]) / 2).sum(1))
    assert bool(((curve.area >= 0) & (curve.area <= 1)).all())
    scaled = deletion(net(), x, logit(y), heat, steps=steps, normalise=True).area
    assert bool(((scaled >= 0) & (scaled <= 1) | scaled.isnan()).all())


def test_the_true_order_beats_a_random_one_and_that_beats_the_inverted_one() -> None:
    x = torch.ones(4, 3, 16, 16)
    truth = torch.zeros(4, 1, 16, 16)
    truth[:, :, 4:8, 8:12] = 1.0
    noise = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(4, dtype=torch.int64)
    gone = [deletion(Planted(), x, y, heat, baseline=0.0).area for heat in (truth, noise, -truth)]
    come = [insertion(Planted(), x, y, heat, baseline=0.0).area for heat in (truth, noise, -truth)]
    assert bool(((gone[0] < gone[1]) & (gone[1] < gone[2])).all())
    assert bool(((come[0] > come[1]) & (come[1] > come[2])).all())


def test_a_model_that_sees_nothing_gives_a_flat_curve() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(18, 2))
    nn.init.zeros_(flat[1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(flat[1].bias)  # type: ignore[arg-type]
    x, y = torch.rand(2, 2, 3, 3), torch.tensor([0, 1])
    curve = deletion(flat, x, y, x, steps=5)
    assert torch.allclose(curve.score, torch.full((2, 6), 0.5, dtype=torch.float64))
    assert bool(deletion(flat, x, y, x, normalise=True).area.isnan().all())


def test_ties_fall_by_the_samples_own_shuffle() -> None:
    heat = torch.zeros(3, 1, 8, 8)
    ranks = pixel_ranks(heat, Draws(5, torch.arange(3)))
    assert torch.equal(ranks.flatten(1).sort(1).values, torch.arange(64).expand(3, 64))
    assert not torch.equal(ranks[0], ranks[1])
    assert not torch.equal(ranks[0].flatten(), torch.arange(64))
    assert torch.equal(ranks[2:], pixel_ranks(heat[2:], Draws(5, torch.tensor([2]))))
    assert not torch.equal(ranks, pixel_ranks(heat, Draws(6, torch.arange(3))))


def test_pieces_and_the_batch_do_not_matter() -> None:
    x = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(1)).double()
    y, draws = torch.tensor([1, 2, 0]), Draws(0, torch.arange(3))
    together = deletion(net(), x, y, x, draws=draws, steps=7)
    with in_pieces(2):
        assert torch.allclose(deletion(net(), x, y, x, draws=draws, steps=7).score, together.score, atol=1e-12)
    row = torch.tensor([2])
    alone = deletion(net(), x[row], y[row], x[row], draws=draws.rows(row), steps=7)
    assert torch.allclose(alone.score, together.score[row], atol=1e-12)
    assert deletion(net(), x[:0], y[:0], x[:0], steps=7).area.shape == (0,)


def test_numbers_to_check_by_hand() -> None:
    """Two pixels, score = 3 times the left one plus the right one; three of four steps change nothing."""

    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (3 * x[:, 0, 0, :1] + x[:, 0, 0, 1:]).double()

    x, y = torch.ones(1, 1, 1, 2), logit(0)
    heat = torch.tensor([[[[3.0, 1.0]]]])
    curve = deletion(Sum(), x, y, heat, steps=2, baseline=0.0)
    assert curve.fractions.tolist() == [0.0, 0.5, 1.0]
    assert curve.score.tolist() == [[4.0, 1.0, 0.0]]
    assert curve.area.tolist() == [1.5]  # (4 + 1) / 4 + (1 + 0) / 4
    assert insertion(Sum(), x, y, heat, steps=2, baseline=0.0).score.tolist() == [[0.0, 3.0, 4.0]]


def test_what_does_not_fit_is_refused() -> None:
    x, y = torch.rand(1, 2, 4, 4), torch.tensor([0])
    with pytest.raises(ValueError, match="steps"):
        deletion(net(), x, y, x, steps=0)
    with pytest.raises(ValueError, match="does not fit"):
        deletion(net(), x, y, x[:, :, :3])
