"""Seeds come from quantiles; an object whose colours differ is cut out; without OpenCV the message says what to do."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.features.grabcut import grabcut, largest_component, saliency_seeds
from advbench.types import ConfigError


@given(st.integers(0, 99))
def test_seeds_are_the_ends_of_the_ranking(seed: int) -> None:
    saliency = torch.rand(1, 20, 10, generator=torch.Generator().manual_seed(seed))
    marks = saliency_seeds(saliency)
    order = saliency.flatten().argsort()
    assert bool((marks.flatten()[order[:60]] == 0).all())
    assert bool((marks.flatten()[order[-10:]] == 1).all())
    assert bool((marks.flatten()[order[60:-10]] == 3).all())


def test_the_largest_piece_is_kept() -> None:
    mask = torch.zeros(5, 7, dtype=torch.bool)
    mask[0, :3] = mask[2:4, 3:6] = True
    kept = largest_component(mask)
    assert int(kept.sum()) == 6
    assert not bool(kept[0].any())
    assert not bool(largest_component(torch.zeros(3, 3, dtype=torch.bool)).any())


@pytest.mark.parametrize("saliency", [torch.zeros(8, 8), torch.full((8, 8), torch.nan)])
def test_a_saliency_that_says_nothing_is_refused(saliency: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="same everywhere or not finite"):
        grabcut(torch.rand(3, 8, 8), saliency)


def test_a_saliency_without_background_is_refused() -> None:
    saliency = torch.zeros(10, 10)
    saliency[0, 0] = 1.0
    with pytest.raises(ConfigError, match="colour image"):
        grabcut(torch.rand(1, 10, 10), saliency)
    with pytest.raises(ConfigError, match="no seeds"):
        saliency_seeds(saliency)


def two_regions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(48, 64, dtype=torch.bool)
    inside[12:36, 20:50] = True
    image = torch.where(
        inside, torch.tensor([0.9, 0.2, 0.1])[:, None, None], torch.tensor([0.1, 0.4, 0.8])[:, None, None]
    )
    image = (image + 0.05 * torch.randn(3, 48, 64, generator=generator)).clamp(0, 1)
    down, right = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    saliency = torch.exp(-((down - 24) ** 2 + (right - 35) ** 2) / 200)  # it does not know the object's outline
    return image, saliency, inside


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="needs the extra opencv")
def test_an_object_is_cut_out() -> None:
    image, saliency, inside = two_regions()
    mask = grabcut(image, saliency)
    assert float((mask & inside).sum()) / float((mask | inside).sum()) > 0.95
    marks = saliency_seeds(saliency)
    assert bool(mask[marks == 1].all())
    assert not bool(mask[marks == 0].any())


@pytest.mark.skipif(importlib.util.find_spec("cv2") is not None, reason="opencv is there")
def test_without_opencv_the_message_says_what_to_install() -> None:
    image, saliency, _ = two_regions()
    with pytest.raises(ConfigError, match=r"advbench\[opencv\]"):
        grabcut(image, saliency)
