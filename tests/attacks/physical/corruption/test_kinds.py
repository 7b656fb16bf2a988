"""The corruptions do what their definitions say, checked against Pillow, SciPy and plain arithmetic."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torch import Tensor

from advbench.attacks.physical.corruption.blur import defocus_blur, smear, zoom_blur
from advbench.attacks.physical.corruption.digital import contrast, elastic_transform, pixelate
from advbench.attacks.physical.corruption.jpeg import jpeg_compression
from advbench.attacks.physical.corruption.kinds import KINDS, corrupt
from advbench.attacks.physical.corruption.noise import gaussian_noise, impulse_noise, poisson, shot_noise
from advbench.attacks.physical.corruption.severities import TABLES, constants
from advbench.attacks.physical.corruption.weather import brightness, fog, plasma
from advbench.core.colour import rgb_to_hsv
from advbench.core.draws import Draws
from tests.strategies import seeds, shapes


def smooth(count: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images with soft shapes, in bytes: what codecs are made for."""
    coarse = torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return (255.0 * large.clamp(0.0, 1.0)).round() / 255.0


def pillow(image: Tensor) -> Image.Image:
    bytes_ = (255.0 * image).round().to(torch.uint8).movedim(0, -1).numpy()
    return Image.fromarray(bytes_[..., 0] if bytes_.shape[2] == 1 else bytes_)


def tensor(picture: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(picture)).float() / 255.0
    return values[None] if values.dim() == 2 else values.movedim(-1, 0)


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(count))


@settings(max_examples=20, deadline=None)
@given(seeds(), shapes(largest=20), st.sampled_from(sorted(KINDS)), st.integers(1, 5))
def test_every_kind_gives_images_and_no_sample_feels_another(
    seed: int, shape: tuple[int, int, int], kind: str, severity: int
) -> None:
    image = torch.rand(3, *shape, generator=torch.Generator().manual_seed(seed))
    before, source = image.clone(), draws(3, seed)
    seen = corrupt(image, source, kind, severity)
    assert seen.shape == image.shape
    assert torch.equal(image, before)
    assert bool(((seen >= 0.0) & (seen <= 1.0)).all())
    alone = corrupt(image[1:2], source.rows(torch.tensor([1])), kind, severity)
    torch.testing.assert_close(alone, seen[1:2], atol=1e-5, rtol=0.0)


# Not the elastic one, whose published severities change what is bent, not only how much.
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"elastic_transform"}))
def test_the_highest_severity_is_farther_than_the_lowest(kind: str) -> None:
    image = smooth(4, 3, 64, 64)
    mild, strong = (float((corrupt(image, draws(4), kind, s) - image).abs().mean()) for s in (1, 5))
    assert 0.0 < mild < strong


def test_constants_are_the_published_ones_and_lie_between_them_in_between() -> None:
    assert constants("shot_noise", 1, 224) == (60.0,)
    assert constants("shot_noise", 1, 299) == (60.0,)
    assert constants("shot_noise", 5, 32) == constants("shot_noise", 5, 28) == (50.0,)
    middle = round(math.sqrt(32 * 224))
    assert constants("motion_blur", 3, middle) == pytest.approx((10.5, 5.0), abs=0.05)
    assert set(TABLES) == set(KINDS)
    for large, small in TABLES.values():
        assert len({len(each) for each in (*large, *small)}) == 1


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 500.0), st.floats(0.0, 0.9999))
def test_poisson_is_the_quantile(rate: float, u: float) -> None:
    found = poisson(torch.tensor([rate], dtype=torch.float64), torch.tensor([u], dtype=torch.float64), most=500.0)
    k = float(found)
    assert stats.poisson.cdf(k, rate) > u * (1.0 - 1e-12)
    assert k == 0 or stats.poisson.cdf(k - 1, rate) <= u * (1.0 + 1e-12) + 1e-15


def test_noise_has_the_variance_that_its_constant_says() -> None:
    image = torch.full((4, 3, 64, 64), 0.5)
    assert float(gaussian_noise(image, draws(4), (0.1,)).std()) == pytest.approx(0.1, rel=0.02)
    shot = shot_noise(image, draws(4), (60.0,))
    assert float(shot.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(shot.var()) == pytest.approx(0.5 / 60.0, rel=0.05)
    impulse = impulse_noise(image, draws(4), (0.2,))
    assert float((impulse == 0.0).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert float((impulse == 1.0).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_blurs_spread_one_bright_pixel_and_keep_its_light() -> None:
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 20, 20] = 1.0
    disc = defocus_blur(image, draws(1), (4.0, 0.1))
    assert float(disc.sum()) == pytest.approx(1.0, abs=1e-5)
    lit = (disc[0, 0] > 0.5 * disc.max()).nonzero() - 20
    assert len(lit) == sum(a * a + b * b <= 16 for a in range(-4, 5) for b in range(-4, 5))
    line = smear(image, torch.zeros(1), reach=3.0, deviation=2.0)[0, 0]
    assert float(line.sum()) == pytest.approx(1.0, abs=1e-5)
    expected = torch.exp(-0.5 * (torch.arange(7.0) / 2.0) ** 2)
    torch.testing.assert_close(line[20, 14:21].flip(0), expected / expected.sum(), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("kind", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "contrast", "pixelate"])
def test_a_plain_image_stays_as_it_is(kind: str) -> None:
    image = torch.full((2, 3, 40, 40), 0.3)
    seen = corrupt(image, draws(2), kind, 4)
    inside = seen[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.3), atol=1e-4, rtol=0.0)


def test_zoom_blur_leaves_the_middle_sharp() -> None:
    image = torch.rand(1, 1, 41, 41, generator=torch.Generator().manual_seed(0))
    change = (zoom_blur(image, draws(1), (1.2, 0.02)) - image).abs()[0, 0]
    assert float(change[19:22, 19:22].mean()) < 0.5 * float(change.mean())


@pytest.mark.parametrize("share", [0.6, 0.25, 0.95])
def test_pixelate_is_what_pillow_does(share: float) -> None:
    image = smooth(1, 3, 40, 40)
    small = math.floor(40 * share)
    box = Image.Resampling.BOX
    expected = tensor(pillow(image[0]).resize((small, small), box).resize((40, 40), box))
    found = pixelate(image, draws(1), (share,))[0]
    assert float((found - expected).abs().mean()) < 0.02
    assert float((found - image[0]).abs().mean()) > 0.0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [80, 25, 7])
def test_jpeg_is_what_pillow_writes_and_reads(channels: int, quality: int) -> None:
    image = smooth(2, channels, 45, 62)
    found = jpeg_compression(image, draws(2), (float(quality),))
    for before, after in zip(image, found, strict=True):
        file = io.BytesIO()
        pillow(before).save(file, "JPEG", quality=quality)
        expected = tensor(Image.open(file))
        apart = (after - expected).abs()
        assert float(apart.mean()) < 0.6 / 255  # a coefficient halfway between two steps may fall either way
        assert float((apart > 8 / 255).float().mean()) < 0.03


def test_brightness_adds_to_the_value_and_contrast_to_nothing_but_contrast() -> None:
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    old, new = rgb_to_hsv(image), rgb_to_hsv(brightness(image, draws(2), (0.2,)))
    torch.testing.assert_close(new[:, 2], (old[:, 2] + 0.2).clamp(max=1.0), atol=1e-9, rtol=0.0)
    torch.testing.assert_close(new[:, 1], old[:, 1], atol=1e-9, rtol=0.0)
    flat = contrast(image, draws(2), (0.3,))
    torch.testing.assert_close(flat.mean((2, 3)), image.mean((2, 3)))
    torch.testing.assert_close(flat.std((2, 3)), 0.3 * image.std((2, 3)))


def test_fog_keeps_the_brightest_value_as_the_limit_and_plasma_fills_the_range() -> None:
    image = 0.8 * torch.rand(2, 3, 20, 33, generator=torch.Generator().manual_seed(0))
    assert float(fog(image, draws(2), (2.0, 2.0)).max()) <= float(image.max()) + 1e-6
    field = plasma(image, draws(2), 2.0)
    assert field.flatten(1).amin(1).tolist() == [0.0, 0.0]
    assert field.flatten(1).amax(1).tolist() == [1.0, 1.0]
    neighbours = (field.diff(dim=2).abs().mean(), field.diff(dim=3).abs().mean())
    assert max(neighbours) < 0.1  # clouds, not noise


def diamond_square(side: int, decay: float, noise: np.random.Generator) -> np.ndarray:
    """Fournier et al. 1982 on a torus: middles of squares first, then those of their sides; (side, side) in [0, 1]."""
    field, amplitude = np.zeros((1, 1)), 1.0
    while len(field) < side:
        count = len(field)
        finer = np.zeros((2 * count, 2 * count))
        finer[::2, ::2] = field
        for row, column in ((1, 1), (0, 1), (1, 0)):  # the last two lean on the first
            for i in range(row, 2 * count, 2):
                for j in range(column, 2 * count, 2):
                    around = (
                        ((-1, -1), (-1, 1), (1, -1), (1, 1)) if row == column else ((-1, 0), (1, 0), (0, -1), (0, 1))
                    )
                    known = sum(finer[(i + a) % (2 * count), (j + b) % (2 * count)] for a, b in around) / 4.0
                    finer[i, j] = known + amplitude * noise.uniform(-1.0, 1.0)
        field, amplitude = finer, amplitude / decay**2
    filled: np.ndarray = (field - field.min()) / (field.max() - field.min())
    return filled


@pytest.mark.parametrize("decay", [3.0, 2.0, 1.4])
def test_plasma_is_as_rough_as_diamond_square_at_every_distance(decay: float) -> None:
    noise = np.random.default_rng(0)
    known = torch.from_numpy(np.stack([diamond_square(16, decay, noise) for _ in range(200)]))
    found = plasma(torch.zeros(200, 1, 16, 16), draws(200), decay)[:, 0].double()
    for lag in (1, 2, 4, 8):
        apart, expected = ((each - each.roll(lag, 2)).square().mean().sqrt() for each in (found, known))
        torch.testing.assert_close(apart, expected, rtol=0.06, atol=0.0)


def test_without_length_and_shift_nothing_is_bent() -> None:
    image = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    still = elastic_transform(image, draws(2), (0.0, 1.0, 0.0))
    torch.testing.assert_close(still, image, atol=1e-4, rtol=0.0)
    assert float((elastic_transform(image, draws(2), (3.0, 1.0, 0.0)) - image).abs().mean()) > 0.02
