"""Infidelity, max-sensitivity and completeness on models whose changes are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.metrics.completeness import completeness
from advbench.metrics.infidelity import infidelity, noise, square
from advbench.metrics.sensitivity import sensitivity


class Quadratic(nn.Module):
    """Logits (B, 2): w . x + b and the sum of the squared pixels; the gradients are w and 2 x."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([(x * self.weight).flatten(1).sum(1) + 3.0, x.square().flatten(1).sum(1)], 1)


def pictures(count: int = 3) -> Tensor:
    return torch.rand(count, 2, 5, 4, generator=torch.Generator().manual_seed(1)).double()


@settings(max_examples=8, deadline=None)
@given(st.floats(0.01, 2.0), st.integers(1, 6), st.integers(1, 30))
def test_the_gradient_of_a_linear_score_is_never_wrong(deviation: float, side: int, samples: int) -> None:
    model, x, y = Quadratic(), pictures(), torch.zeros(3, dtype=torch.int64)
    heat = model.weight.detach().expand_as(x)
    for perturbation in (noise(deviation), square(side)):
        assert float(infidelity(model, x, y, heat, perturbation=perturbation, samples=samples).max()) < 1e-20
        doubled = infidelity(model, x, y, 2 * heat, perturbation=perturbation, samples=samples)
        assert bool((doubled > 0).all())
        scaled = infidelity(model, x, y, 2 * heat, perturbation=perturbation, samples=samples, scaled=True)
        assert float(scaled.max()) < 1e-20


def test_it_is_the_mean_of_the_squared_surprises() -> None:
    model, x, y, draws = Quadratic(), pictures(), torch.ones(3, dtype=torch.int64), Draws(4, torch.arange(3))
    heat = torch.rand(3, 2, 5, 4, generator=torch.Generator().manual_seed(2)).double()
    squares = []
    for i in range(7):
        taken = noise(0.3)(x, draws, i)
        change = model(x)[:, 1] - model(x - taken)[:, 1]
        squares.append(((taken * heat).flatten(1).sum(1) - change).square())
    expected = torch.stack(squares).mean(0).detach()
    found = infidelity(model, x, y, heat, draws=draws, perturbation=noise(0.3), samples=7)
    assert torch.allclose(found, expected)
    with in_pieces(2):
        assert torch.allclose(infidelity(model, x, y, heat, draws=draws, perturbation=noise(0.3), samples=7), expected)
    row = torch.tensor([1])
    alone = infidelity(model, x[row], y[row], heat[row], draws=draws.rows(row), perturbation=noise(0.3), samples=7)
    assert torch.allclose(alone, expected[row])


def test_of_a_square_it_is_what_the_gradient_cannot_know() -> None:
    """Score |x|^2, map 2x, I = x: 2 x . x - (|x|^2 - 0) = |x|^2, squared."""
    model, x, y = Quadratic(), pictures(), torch.ones(3, dtype=torch.int64)
    found = infidelity(model, x, y, 2 * x, perturbation=square(9, 0.0), samples=2)
    assert torch.allclose(found, x.square().flatten(1).sum(1).square())
    one_channel = infidelity(model, x, y, (2 * x).sum(1, keepdim=True), perturbation=square(9, 0.0), samples=1)
    guess = (x.sum(1) * x.sum(1)).flatten(1).sum(1)  # half of the summed map on either channel
    assert torch.allclose(one_channel, (guess - x.square().flatten(1).sum(1)).square())


def test_squares_lie_inside_and_differ() -> None:
    x = torch.ones(200, 1, 6, 5)
    taken = square(2, 0.25)(x, Draws(0, torch.arange(200)), 0)
    assert torch.equal(taken.flatten(1).sum(1), torch.full((200,), 3.0))  # four pixels, 0.75 each
    assert bool(((taken > 0).float().mean(0) > 0).all())  # every pixel is hidden for some sample


@settings(max_examples=8, deadline=None)
@given(st.floats(0.0, 0.5), st.floats(1.0, 4.0))
def test_sensitivity_is_zero_for_a_constant_and_grows_with_the_radius(radius: float, factor: float) -> None:
    x = pictures()
    assert sensitivity(torch.ones_like, x, radius=radius).tolist() == [0.0] * 3
    small, large = (sensitivity(lambda z: 2 * z, x, radius=r) for r in (radius, factor * radius))
    assert bool((large >= small).all())
    # The map 2 x moves by 2 |d|, and |d| is at most radius sqrt(40).
    moved = sensitivity(lambda z: 2 * z, x, radius=radius, relative=False)
    assert float(moved.max()) <= 2 * radius * math.sqrt(40) + 1e-12
    assert torch.allclose(moved, small * 2 * x.flatten(1).norm(dim=1))


def test_sensitivity_of_a_zero_map_has_no_scale() -> None:
    assert bool(sensitivity(torch.zeros_like, pictures()).isnan().all())


def test_completeness_measures_what_is_missing() -> None:
    model, x = Quadratic(), pictures()
    y, black = torch.tensor([1, 1, 0]), torch.zeros(1, 1, 1, 1)
    exact = torch.where(y[:, None, None, None] == 1, x.square(), x * model.weight.detach())
    full = completeness(model, x, y, exact, black)
    assert float(full.gap.abs().max()) < 1e-12
    assert torch.allclose(full.change[:2], x[:2].square().flatten(1).sum(1))
    short = completeness(model, x, y, 0.9 * exact, black)
    assert torch.allclose(short.gap, -0.1 * full.change)
    assert torch.allclose(short.relative, torch.full((3,), 0.1, dtype=torch.float64))
    assert bool(completeness(model, x, y, exact, x).relative.isnan().all())


def test_what_does_not_fit_is_refused() -> None:
    model, x, y = Quadratic(), pictures(), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="samples"):
        infidelity(model, x, y, x, samples=0)
    with pytest.raises(ValueError, match="does not fit"):
        infidelity(model, x, y, x[:, :, :3])
    with pytest.raises(ValueError, match="radius >= 0"):
        sensitivity(torch.zeros_like, x, radius=-1.0)
