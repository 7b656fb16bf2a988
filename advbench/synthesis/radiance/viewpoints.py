"""What a few cameras see of a density that does not change, remembered as far as memory is granted."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.synthesis.radiance.cameras import Cameras
from advbench.synthesis.radiance.rendering import Sight, picture_of, sights_of

_MOST = 1 << 24  # samples remembered: 0.4 GiB


class Viewpoints:
    """The views of `cameras` in images of `size` (H, W) in front of background (C,). Views too many are looked up anew.

    With the density fixed an image is a linear map of the colours. Its coefficients are what takes most of the time.
    """

    def __init__(self, density: Tensor, cameras: Cameras, size: tuple[int, int], background: Tensor) -> None:
        self.size, self.background = size, background
        self._density, self._cameras = density, cameras
        self._known: dict[int, list[Sight]] = {}
        self._samples = 0

    def __len__(self) -> int:
        return len(self._cameras.positions)

    def sights(self, number: int) -> list[Sight]:
        """What camera `number` sees, in pieces of its pixels."""
        if number in self._known:
            return self._known[number]
        found = sights_of(self._density, self._cameras, number, self.size)
        samples = sum(len(sight.ray) for sight in found)
        if self._samples + samples <= _MOST:
            self._known[number] = found
            self._samples += samples
        return found

    def picture(self, colours: Tensor, number: int) -> Tensor:
        """The image (1, C, H, W) of camera `number`, with a graph to the colours (1, C, D, D, D)."""
        return picture_of(colours, self.sights(number), self.background, self.size)

    def filled(self, number: int) -> Tensor:
        """The share (1, 1, H, W) of each pixel that the scene fills."""
        return 1.0 - torch.cat([sight.left for sight in self.sights(number)]).reshape(1, 1, *self.size)
