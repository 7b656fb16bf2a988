"""LayerCAM: each cell weighted by its own positive gradient. Jiang et al. 2021, doi:10.1109/TIP.2021.3089943."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.attributions.class_maps import class_maps, drawn
from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.registry import attribution


@attribution(paper="doi:10.1109/TIP.2021.3089943", needs="maps")
def layer_cam(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    layer: str | None = None,
    relu: bool = True,
) -> Tensor:
    """Heat map (B, 1, H, W) of the score y: sum over channels k of max(gradient, 0) times activation, enlarged.

    Cell by cell, which makes maps of early layers usable too. In units of the score. layer: by default the last with
    useful maps (`core.default_layer`). relu: of the sum, as in the paper; it only matters where activations are
    negative. Bilinear, corners not aligned. `draws` is not used. Raises ConfigError as grad_cam does.
    """
    maps, grad = class_maps(model, x, y, layer)
    return drawn((grad.clamp_min(0.0) * maps).sum(1, keepdim=True), x, relu)
