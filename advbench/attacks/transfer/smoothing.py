"""The kernel of translation invariance: blur a gradient as its mean over shifted images would be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from advbench.types import ConfigError


def gaussian(side: int) -> Callable[[Tensor], Tensor]:
    """Convolution of each channel of (A, C, H, W) with a Gaussian of `side` pixels; zeros lie around the image.

    The deviation is (side - 1) / 6 pixels (the kernel ends at three deviations, as in the code of arXiv:1904.02884).
    Raises ConfigError unless side is odd and positive.
    """
    if side < 1 or side % 2 == 0:
        raise ConfigError(f"kernel must be an odd number of pixels, got {side}")
    reach = side // 2
    weights = torch.exp(-0.5 * (3.0 * torch.arange(-reach, reach + 1) / max(reach, 1)) ** 2)
    weights = weights / weights.sum()

    def smooth(grad: Tensor) -> Tensor:
        kernel = weights.to(grad).reshape(1, 1, -1, 1)
        planes = functional.conv2d(grad.flatten(0, 1)[:, None], kernel, padding=(reach, 0))
        return functional.conv2d(planes, kernel.transpose(2, 3), padding=(0, reach)).reshape(grad.shape)

    return smooth
