"""How far a view is from the styles and from what was to be painted, as the middle layers of a network see it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.activations import Partial
from advbench.core.nearest_features import nearest_features
from advbench.synthesis.radiance.viewpoints import Viewpoints
from advbench.synthesis.stages import named_layers, stages
from advbench.types import ConfigError

_PART = 4  # features are compared where a map's side is that part of the view's
_FILLED = 0.25  # share of a map's cell that the scene must fill for it to be compared


class Critic:
    """Compares views, enlarged, with styles (1, C, h, w) by the maps of `layers` (if empty: the middle ones)."""

    def __init__(
        self, model: nn.Module, styles: Sequence[Tensor], views: Viewpoints, layers: Sequence[str], enlarge: float
    ) -> None:
        self._size = (round(enlarge * views.size[0]), round(enlarge * views.size[1]))
        probe = views.background[None, :, None, None].expand(1, -1, *self._size)
        self.layers = named_layers(model, layers, probe) if layers else middle_layers(model, probe, views.size)
        self._partial = Partial(model, self.layers, probe)
        with torch.no_grad():
            cells = self.features(probe).shape[2:]
            self._wanted = torch.cat([self.features(each).flatten(2) for each in styles], 2)[:, :, None]
        self._filled = [_cells(views.filled(number), (cells[0], cells[1])) for number in range(len(views))]

    def features(self, image: Tensor) -> Tensor:
        """Maps (1, F, h, w) of the layers, one behind the other. Raises ConfigError if their sizes differ."""
        maps = self._partial(image)
        if any(each.dim() != 4 for each in maps.values()) or len({each.shape[2:] for each in maps.values()}) > 1:
            raise ConfigError(f"arf: layers need maps of one size, which {', '.join(self.layers)} do not have")
        return torch.cat([maps[layer] for layer in self._partial.layers], 1)

    def look(self, view: Tensor) -> Tensor:
        """`features` of a view (1, C, H, W), which is enlarged first."""
        if view.shape[2:] == self._size:
            return self.features(view)
        return self.features(functional.interpolate(view, size=self._size, mode="bilinear"))

    def mismatch(self, maps: Tensor, number: int) -> Tensor:
        """Mean cosine distance (1,) to the nearest feature of the styles, over cells that the scene fills in a view."""
        return nearest_features(maps.flatten(2)[:, :, None, self._filled[number]], self._wanted)

    def change(self, maps: Tensor, wanted: Tensor) -> Tensor:
        """Squared distance (1,) of maps (1, F, h, w) from the wanted ones; 1 is the distance of their own mean."""
        spread = (wanted - wanted.mean((2, 3), keepdim=True)).square().mean()
        return ((maps - wanted).square().mean() / spread.clamp_min(torch.finfo(spread.dtype).tiny)).reshape(1)


def middle_layers(model: nn.Module, image: Tensor, size: tuple[int, int]) -> list[str]:
    """The wide layers whose maps of image (B, C, H, W) have a quarter of the rows and columns of `size`, or more.

    For an image as large as that relu3_1, relu3_2 and relu3_3 of a VGG-16, as in the paper; for one of twice the size
    those behind the next pooling, which see more of the scene and less of the grid of voxels.
    """
    found = stages(model, image)
    # Rounding of strided layers: 31 rows of 128 are a quarter too.
    enough = 0.9 * min(size) / _PART
    return list(next((stage for stage in reversed(found) if stage.side >= enough), found[0]).layers)


def _cells(filled: Tensor, size: tuple[int, int]) -> Tensor:
    """Which of h w cells the scene fills (h w,) bool; all of them if none."""
    chosen = functional.adaptive_avg_pool2d(filled, size).flatten() >= _FILLED
    return chosen if bool(chosen.any()) else torch.ones_like(chosen)
