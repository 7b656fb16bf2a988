"""HiResCAM: where the maps raise the class score, cell by cell. Draelos and Carin 2020, arXiv:2011.08891."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.attributions.class_maps import class_maps, drawn
from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.registry import attribution


@attribution(paper="arXiv:2011.08891", needs="maps")
def hires_cam(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    layer: str | None = None,
    relu: bool = True,
) -> Tensor:
    """Heat map (B, 1, H, W) of the score y: sum over channels k of gradient times activation, enlarged to the image.

    The gradient is not averaged over the map, so where the rest of the network is linear (flatten and a linear layer)
    the cells of the small map, before relu, add up to the score without its bias; with a global mean instead it is
    grad_cam. In units of the score. layer: by default the last with useful maps (`core.default_layer`). relu: keep the
    evidence for y only, as in the paper. Bilinear, corners not aligned. `draws` is not used. Raises ConfigError as
    grad_cam does.
    """
    maps, grad = class_maps(model, x, y, layer)
    return drawn((grad * maps).sum(1, keepdim=True), x, relu)
