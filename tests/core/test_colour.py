"""Colours are converted as the standard library does it, and back."""

from __future__ import annotations

import colorsys

import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.colour import hsv_to_rgb, rgb_to_hsv
from tests.strategies import seeds


@given(seeds(), st.sampled_from((2, 5, 256)))
def test_every_pixel_is_converted_as_colorsys_does(seed: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(levels, (2, 3, 3, 2), generator=generator).double() / (levels - 1)
    found = rgb_to_hsv(image).movedim(1, -1).reshape(-1, 3)
    for pixel, hsv in zip(image.movedim(1, -1).reshape(-1, 3).tolist(), found, strict=True):
        expected = torch.tensor(colorsys.rgb_to_hsv(*pixel), dtype=torch.float64)
        apart = (hsv - expected).abs()
        apart[0] = min(apart[0], 1.0 - apart[0])  # hue is a circle
        assert float(apart.max()) < 1e-9


@given(seeds())
def test_there_and_back_is_the_identity(seed: int) -> None:
    image = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(hsv_to_rgb(rgb_to_hsv(image)), image, atol=1e-6, rtol=0.0)


def test_a_third_of_the_circle_makes_red_green() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    shifted = rgb_to_hsv(red) + torch.tensor([1 / 3, 0.0, 0.0]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(hsv_to_rgb(shifted).flatten(), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0.0)


def test_slopes_are_finite_at_greys_and_black() -> None:
    image = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3).expand(1, 3, 1, 3).clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(hsv_to_rgb(rgb_to_hsv(image)).sum(), image)
    assert bool(grad.isfinite().all())
