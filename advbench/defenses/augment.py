"""Random views of training images, drawn per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from advbench.core.draws import Draws

_PADDING = 4  # pixels, as in the usual CIFAR recipe (arXiv:1512.03385, section 4.2)


def unchanged(x: Tensor, draws: Draws) -> Tensor:
    """x itself."""
    return x


def crop_flip(x: Tensor, draws: Draws) -> Tensor:
    """Each image of x (B, C, H, W) moved by up to 4 pixels each way (black comes in) and mirrored with chance 1/2."""
    height, width = x.shape[2:]
    shift = draws.integers(2 * _PADDING + 1, (2, 1, 1), "crop")  # (B, 2, 1, 1)
    mirrored = draws.integers(2, (1, 1), "flip") == 1  # (B, 1, 1)
    rows = torch.arange(height, device=x.device)[:, None] + shift[:, 0]  # (B, H, 1)
    columns = torch.arange(width, device=x.device)[None, :]
    columns = torch.where(mirrored, width - 1 - columns, columns) + shift[:, 1]  # (B, 1, W)
    padded = functional.pad(x, (_PADDING,) * 4).movedim(1, -1)  # (B, H + 8, W + 8, C)
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[batch, rows, columns].movedim(-1, 1).contiguous()


AUGMENTS: Mapping[str, Callable[[Tensor, Draws], Tensor]] = {"none": unchanged, "crop_flip": crop_flip}
