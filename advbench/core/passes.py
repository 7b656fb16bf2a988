"""How many images go through a network together, and in which memory layout: speed only, never the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advbench.core.gradients import in_pieces, piece_size

# Pixels (H W) of a pass on a processor: the maps of more images at a time fall out of its cache. ResNet-18 at 224 x 224
# with folded batch norm takes 16.1, 14.7, 17.4 ms per image in pieces of 4, 8, 16; SqueezeNet 1.1 5.5, 5.6, 6.7.
_CACHED_PIXELS = 8 * 224 * 224
_ACCELERATED_IMAGES = 256


@contextmanager
def brisk_pieces(x: Tensor) -> Iterator[int]:
    """Inside, images like x (B, C, H, W) go through a model in pieces of the size that is yielded.

    That of the surrounding `in_pieces` if there is one, else as many as the device works on fastest.
    """
    size = piece_size()
    if size is None:
        pixels = max(1, x.shape[2] * x.shape[3])
        size = max(1, _CACHED_PIXELS // pixels) if x.device.type == "cpu" else _ACCELERATED_IMAGES
    with in_pieces(size):
        yield size


def brisk_layout(model: nn.Module, x: Tensor) -> torch.memory_format:
    """The memory layout of images like x (B, C, H, W) in which `model` computes the same fastest.

    On a processor, channels last: convolutions need no reordering before and after (SqueezeNet 1.1: 2.1 times as fast
    in pieces of 4). A model that looks at strides (`view`) may refuse it, so one image goes through as a trial.
    """
    if x.device.type != "cpu" or not len(x):
        return torch.contiguous_format
    try:
        with torch.no_grad():
            model(x[:1].detach().contiguous(memory_format=torch.channels_last))
    except RuntimeError as error:
        if "view size is not compatible" not in str(error):
            raise
        return torch.contiguous_format
    return torch.channels_last
