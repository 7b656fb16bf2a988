"""MACO: the magnitudes stay, the phases climb."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.draws import Draws
from advbench.core.journal import Frame, running
from advbench.synthesis.file_journal import FileJournal
from advbench.synthesis.visualize.maco import Ascent, Climbed, climbed, maco
from advbench.synthesis.visualize.spectrum import falling_spectrum, natural_spectrum, phase_field
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net

DRAWS = Draws(0, torch.arange(2))
SHAPE = (3, 13, 10)


@given(st.integers(4, 13), st.integers(4, 13), st.integers(0, 9))
def test_magnitudes_are_those_of_the_template_at_every_frequency(height: int, width: int, seed: int) -> None:
    shape = (3, height, width)
    magnitude = falling_spectrum(shape).double()
    z = 20.0 * torch.randn(2, *magnitude.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    field = phase_field(z, magnitude, shape)
    torch.testing.assert_close(torch.fft.rfft2(field, norm="ortho").abs(), magnitude.expand_as(z), atol=1e-9, rtol=0.0)
    deviation = field.flatten(2).std(2, unbiased=False)
    torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=1e-6, rtol=0.0)


def test_the_template_of_constant_images_is_their_mean_alone() -> None:
    spectrum = natural_spectrum(torch.tensor([0.2, 0.6]).reshape(2, 1, 1, 1).expand(2, 3, 9, 8), SHAPE)
    assert float(spectrum[:, 0, 0].max()) > 1.0
    spectrum[:, 0, 0] = 0.0
    torch.testing.assert_close(spectrum, torch.zeros_like(spectrum), atol=1e-4, rtol=0.0)


def test_it_climbs_and_says_where() -> None:
    model, images = pooled_net(), torch.rand(5, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    for given_images in (None, images):
        image = maco(model, "class:1", draws=DRAWS, shape=SHAPE, images=given_images, steps=12, crops=2)
        first = maco(model, "class:1", draws=DRAWS, shape=SHAPE, images=given_images, steps=0)
        assert bool((model(image)[:, 1] > model(first)[:, 1]).all())
    found = with_importance()
    assert torch.equal(found.image, maco(model, "class:1", draws=DRAWS, shape=SHAPE, steps=12, crops=2))
    assert found.importance.shape == (2, 1, 13, 10)
    assert float(found.importance.min()) >= 0.0
    assert bool((found.importance.flatten(1).amax(1) > 0).all())
    with pytest.raises(ConfigError, match="smallest"):
        maco(model, "class:1", draws=DRAWS, shape=SHAPE, smallest=0.9, largest=0.5)


@pytest.mark.parametrize("killed_at", [1, 7, 11])
def test_a_killed_run_ends_with_the_same_picture_and_the_same_importance(killed_at: int, tmp_path: Path) -> None:
    def watch(frame: Frame) -> None:
        if frame.step == killed_at:
            raise KeyboardInterrupt

    whole = with_importance()
    with pytest.raises(KeyboardInterrupt), running(watch, FileJournal(tmp_path, "maco", seconds=0.0)):
        with_importance()
    for _ in range(2):  # the second time everything is recalled
        with running(journal=FileJournal(tmp_path, "maco")):
            again = with_importance()
        assert torch.equal(again.image, whole.image)
        assert torch.equal(again.importance, whole.importance)


def with_importance() -> Climbed:
    ascent = Ascent(steps=12, step_size=0.3, crops=2, smallest=0.3, largest=0.9, grain=0.05, redirected=True)
    return climbed(pooled_net(), "class:1", falling_spectrum(SHAPE), SHAPE, ascent, draws=DRAWS)
