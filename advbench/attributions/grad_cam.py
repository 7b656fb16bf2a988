"""Grad-CAM: the feature maps that raise the class score. Selvaraju et al. 2017, arXiv:1610.02391."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.attributions.class_maps import class_maps, drawn, weighted_maps
from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.registry import attribution


@attribution(paper="arXiv:1610.02391", needs="maps")
def grad_cam(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    layer: str | None = None,
    relu: bool = True,
) -> Tensor:
    """Heat map (B, 1, H, W) of the score y: sum over channels k of alpha_k A_k, enlarged to the image.

    A (B, k, h, w) are the maps of `layer`, alpha_k the mean over h, w of the score's gradient with respect to A_k
    (equations 1 and 2 of the paper). At the input of a global mean it is CAM / (h w). In units of the score per map
    cell. layer: by default the last with useful maps (`core.default_layer`). relu: keep the evidence for y only, as in
    the paper. Bilinear, corners not aligned. `draws` is not used. Raises ConfigError if the model has no layer with
    rows and columns, if there is no such layer, and if the score does not depend on it.
    """
    return drawn(weighted_maps(*class_maps(model, x, y, layer)), x, relu)
