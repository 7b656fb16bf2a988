"""Channels that differ in sign do not hide a pixel; a map of one channel keeps its sign."""

from __future__ import annotations

import torch

from advbench.metrics.pixel_strength import pixel_strength


def test_one_channel_as_it_stands_and_several_by_size() -> None:
    one = torch.tensor([[[[1.0, -2.0]]]])
    assert torch.equal(pixel_strength(one), one)
    three = torch.tensor([[[[3.0, 0.5]], [[-3.0, 0.5]], [[0.0, 0.5]]]])
    assert torch.equal(pixel_strength(three), torch.tensor([[[[6.0, 1.5]]]]))
    assert pixel_strength(three[:0]).shape == (0, 1, 1, 2)
