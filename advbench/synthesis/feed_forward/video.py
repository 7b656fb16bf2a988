"""A stream of frames painted one by one, calm where the scene is calm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from advbench.types import ConfigError

_CHANGE = 0.05  # root mean square over the channels at which a pixel counts as moved


def painted_frames(
    paint: Callable[[Tensor], Tensor], frames: Iterable[Tensor], *, smoothing: float = 0.6
) -> Iterator[Tensor]:
    """Each frame (1, 3, H, W) painted, blended with the frame before where the scene did not change.

    smoothing: the share of the painted frame before at a pixel that is as it was; it falls with the squared change, so
    that nothing smears behind what moves. 0 paints each frame alone. A still scene gives a still picture. Raises
    ConfigError unless 0 <= smoothing < 1.
    """
    if not 0.0 <= smoothing < 1.0:
        raise ConfigError(f"smoothing must be at least 0 and below 1, got {smoothing}")
    before: tuple[Tensor, Tensor] | None = None
    for frame in frames:
        picture = paint(frame)
        if before is not None:
            scene, shown = before
            change = (frame - scene).square().mean(1, keepdim=True)  # (1, 1, H, W)
            share = smoothing * torch.exp(-change / _CHANGE**2)
            picture = share * shown + (1.0 - share) * picture
        before = frame, picture
        yield picture
