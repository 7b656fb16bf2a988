"""Pieces and layout change the speed only, and give way where the caller or the model wants it otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.gradients import in_pieces, piece_size
from advbench.core.passes import brisk_layout, brisk_pieces


class Picky(nn.Module):
    def __init__(self, complaint: str) -> None:
        super().__init__()
        self.complaint = complaint

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_contiguous():
            raise RuntimeError(self.complaint)
        return x.flatten(1)


def test_the_callers_piece_size_is_kept_and_large_images_go_in_small_pieces() -> None:
    with brisk_pieces(torch.zeros(1, 3, 224, 224)) as size:
        assert size == piece_size() == 4
    with brisk_pieces(torch.zeros(1, 1, 28, 28)) as size:
        assert size == 256
    with in_pieces(7), brisk_pieces(torch.zeros(1, 3, 224, 224)) as size:
        assert size == 7
    assert piece_size() is None


def test_channels_come_last_unless_the_model_needs_them_contiguous() -> None:
    x = torch.rand(2, 3, 6, 6)
    assert brisk_layout(nn.Conv2d(3, 4, 3), x) is torch.channels_last
    assert brisk_layout(Picky("view size is not compatible with"), x) is torch.contiguous_format
    assert brisk_layout(Picky("never asked"), x[:0]) is torch.contiguous_format
    with pytest.raises(RuntimeError, match="out of memory"):
        brisk_layout(Picky("out of memory"), x)
