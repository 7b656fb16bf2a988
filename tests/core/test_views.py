"""Views of a print: the same for a sample in any batch, in the box, differentiable, and none where all is 0."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.testing import assert_close

from advbench.core.draws import Draws
from advbench.core.transforms import View, warp
from advbench.core.views import camera, defocus, jpeg, jpeg_file, lighting, photographed, print_colours
from tests.strategies import images, seeds

VIEWS: dict[str, View] = {
    "colours": print_colours(0.1),
    "lighting": lighting(0.3),
    "camera": camera(rotation=20.0, zoom=0.2, shift=0.1, tilt=0.2),
    "defocus": defocus(1.5),
    "jpeg": jpeg_file(30),
    "all": photographed(),
}


@settings(max_examples=20)
@given(images(), st.sampled_from(sorted(VIEWS)), seeds(), st.integers(0, 5))
def test_a_samples_view_does_not_depend_on_the_batch_and_stays_in_the_box(
    x: Tensor, kind: str, seed: int, counter: int
) -> None:
    draws, view = Draws(seed, torch.arange(len(x)) + 7), VIEWS[kind]
    together = view(x, draws, counter)
    assert together.shape == x.shape
    assert together.dtype == x.dtype
    assert bool(((together >= -1e-6) & (together <= 1.0 + 1e-6)).all())
    for i in range(len(x)):
        row = torch.tensor([i])
        assert_close(view(x[row], draws.rows(row), counter), together[row], atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("kind", sorted(VIEWS))
def test_views_differ_and_let_a_gradient_through(kind: str) -> None:
    x = 0.25 + 0.5 * torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    draws = Draws(0, torch.arange(2))
    first, second = (VIEWS[kind](x, draws, i) for i in range(2))
    assert not torch.equal(first, second)
    leaf = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(VIEWS[kind](leaf, draws, 0).sum(), leaf)
    assert bool((grad[:, :, 3:-3, 3:-3] != 0).all())


def test_with_every_part_off_the_view_is_the_image() -> None:
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    draws = Draws(0, torch.arange(2))
    off = photographed(rotation=0, zoom=0, shift=0, tilt=0, light=0, colour=0, blur=0, grain=0, jpeg=None)
    assert torch.equal(off(x, draws, 0), x)
    assert_close(camera()(x, draws, 0), x, atol=1e-6, rtol=0.0)


@given(images(), st.floats(-40.0, 40.0))
def test_a_turn_alone_is_that_of_warp(x: Tensor, degrees: float) -> None:
    draws = Draws(3, torch.arange(len(x)))
    u = 2.0 * draws.uniform((6, 1, 1), "camera", 0)[:, 0, 0, 0] - 1.0
    expected = warp(x, angle=math.radians(abs(degrees)) * u)
    assert_close(camera(rotation=abs(degrees))(x, draws, 0), expected, atol=1e-4, rtol=0.0)


def test_a_blur_is_scipys() -> None:
    x = torch.rand(2, 1, 20, 18, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = Draws(0, torch.arange(2))
    found = defocus(2.0)(x, draws, 0)
    for i, sigma in enumerate((2.0 * draws.uniform((), "focus", 0)).tolist()):
        expected = gaussian_filter(x[i, 0].numpy(), sigma, mode="nearest", radius=6)
        assert np.abs(found[i, 0].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
@pytest.mark.parametrize("quality", [20, 50, 90])
def test_jpeg_is_what_pillow_reads_back(mode: str, channels: int, quality: int) -> None:
    down, across = torch.meshgrid(torch.linspace(0.0, 3.0, 21), torch.linspace(0.0, 5.0, 30), indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(down * (k + 1) + across * (3 - k)) for k in range(channels)]
    pixels = (255.0 * torch.stack(waves)).round()  # (C, 21, 30), sides that are no multiples of 8
    array = pixels.byte().permute(1, 2, 0).numpy()
    stored = io.BytesIO()
    Image.fromarray(array.squeeze(), mode).save(stored, "JPEG", quality=quality, subsampling=0)
    expected = torch.from_numpy(np.array(Image.open(stored), dtype=np.float32)).reshape(21, 30, channels)
    found = jpeg(pixels[None] / 255.0, torch.tensor([float(quality)]))[0]
    error = (255.0 * found.permute(1, 2, 0) - expected).abs()
    assert float(error.mean()) < 1.5
    assert float(error.mean()) < 0.5 * float((pixels.permute(1, 2, 0) - expected).abs().mean())


def test_limits_are_checked() -> None:
    for make in (lambda: camera(zoom=1.0), lambda: camera(tilt=0.5), lambda: jpeg_file(0), lambda: jpeg_file(60, 50)):
        with pytest.raises(ValueError, match="need"):
            make()
