"""Painted frames: still where the scene is still, sharp where it moves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.synthesis.feed_forward.video import painted_frames
from advbench.types import ConfigError


def flicker(seed: int = 0) -> object:
    """A painter with noise of its own in every frame."""
    generator = torch.Generator().manual_seed(seed)
    return lambda x: (1.0 - x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


@given(st.floats(0.0, 0.95))
def test_a_still_scene_gives_a_still_picture(smoothing: float) -> None:
    frame = torch.rand(1, 3, 6, 6)
    shown = list(painted_frames(lambda x: 1.0 - x, [frame] * 4, smoothing=smoothing))
    assert all(torch.allclose(each, shown[0], atol=1e-6) for each in shown)


def test_smoothing_calms_flicker() -> None:
    frames = [torch.full((1, 3, 32, 32), 0.5)] * 20

    def unrest(smoothing: float) -> float:
        shown = torch.cat(list(painted_frames(flicker(), frames, smoothing=smoothing)))  # type: ignore[arg-type]
        return float(shown.diff(dim=0)[5:].square().mean())

    assert unrest(0.8) < 0.2 * unrest(0.0)


def test_what_moves_is_not_smeared() -> None:
    def at(column: int) -> Tensor:
        frame = torch.zeros(1, 3, 8, 8)
        frame[..., column] = 1.0
        return frame

    shown = list(painted_frames(lambda x: x, [at(i) for i in range(6)], smoothing=0.9))
    assert all(torch.allclose(picture, at(i), atol=1e-6) for i, picture in enumerate(shown))


def test_impossible_smoothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="below 1, got 1"):
        list(painted_frames(lambda x: x, [], smoothing=1.0))
