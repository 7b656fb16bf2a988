"""Priors on pictures: what they give on images where it is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.priors import alpha_norm, edge_energy, total_variation
from tests.strategies import seeds

BETAS = (1.0, 1.5, 2.0, 3.0)


@given(st.sampled_from(BETAS), st.floats(-2, 2), st.integers(1, 7), st.integers(1, 7))
def test_a_constant_image_has_no_variation(beta: float, value: float, height: int, width: int) -> None:
    assert torch.equal(total_variation(beta)(torch.full((2, 3, height, width), value)), torch.zeros(2))


@given(st.sampled_from(BETAS), seeds(), st.floats(-1, 1))
def test_variation_does_not_see_a_constant_and_is_each_images_own(beta: float, seed: int, value: float) -> None:
    z = torch.randn(3, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    prior = total_variation(beta)
    assert torch.allclose(prior(z + value), prior(z))
    assert torch.allclose(prior(z[1:2]), prior(z)[1:2])


@pytest.mark.parametrize("beta", BETAS)
def test_a_step_counts_its_height_once_per_row(beta: float) -> None:
    z = torch.zeros(1, 1, 6, 8, dtype=torch.float64)
    z[..., 3:] = 0.5
    assert torch.allclose(total_variation(beta)(z), torch.tensor([6 * 0.5**beta], dtype=torch.float64), rtol=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_the_slope_of_variation_is_that_of_finite_differences(beta: float) -> None:
    z = torch.randn(2, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    assert torch.autograd.gradcheck(total_variation(beta), (z,))


def test_variation_of_two_by_two_pixels_by_hand() -> None:
    z = torch.tensor([[[[0.0, 3.0], [4.0, 0.0]]]])
    # right and down at the corner: 3 and 4; down from the 3: 3; right from the 4: 4
    assert total_variation(1.0)(z).item() == pytest.approx(5.0 + 3.0 + 4.0, abs=1e-3)
    assert total_variation(2.0)(z).item() == pytest.approx(25.0 + 9.0 + 16.0)
    with pytest.raises(ValueError, match="beta must be positive"):
        total_variation(0.0)


def test_the_sixth_power_of_twice_as_much_is_64_times_as_much() -> None:
    z = torch.rand(2, 3, 4, 4)
    assert torch.allclose(alpha_norm(6.0)(2 * z), 64 * alpha_norm(6.0)(z))
    assert torch.equal(alpha_norm(6.0)(torch.full((1, 1, 2, 5), 2.0)), torch.tensor([640.0]))
    assert torch.equal(alpha_norm(6.0, centre=0.5)(torch.full((1, 1, 2, 5), 0.5)), torch.zeros(1))


@pytest.mark.parametrize(("side", "expected"), [(224, 131.41), (32, 16.55)])
def test_edge_energy_of_a_white_image_as_the_lecture_pads_it(side: int, expected: float) -> None:
    white = torch.ones(1, 2, side, side)
    assert edge_energy()(white).item() / 2 == pytest.approx(expected, abs=0.005)
    assert edge_energy("replicate")(white).item() == pytest.approx(0.0, abs=1e-6)


@given(st.sampled_from(["zeros", "replicate"]), seeds())
def test_edge_energy_is_quadratic_and_adds_over_channels(padding: str, seed: int) -> None:
    z = torch.randn(2, 3, 13, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    prior = edge_energy(padding)  # type: ignore[arg-type]
    assert torch.allclose(prior(2 * z), 4 * prior(z))
    assert torch.allclose(sum(prior(z[:, c : c + 1]) for c in range(3)), prior(z))


def test_edge_energy_is_what_the_lectures_code_computes() -> None:
    """The lecture's module, with the row vector that its printed line lost."""
    k = torch.exp(-(torch.tensor([[-2.0, -1.0, 0.0, 1.0, 2.0]]) ** 2) / 2)
    k = (k.t() @ k).view(1, 1, 5, 5)
    k = k / k.sum()
    x = torch.randn(2, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    u, result = x.view(-1, 1, 40, 33), torch.zeros(6)
    while min(u.size(2), u.size(3)) > 5:
        blurry = torch.nn.functional.conv2d(u, k, padding=2)
        result += (u - blurry).reshape(u.size(0), -1).pow(2).sum(1)
        u = torch.nn.functional.avg_pool2d(u, kernel_size=2, padding=1)
    assert torch.allclose(edge_energy()(x), result.view(2, -1).sum(1), rtol=1e-5)
