"""Grad-CAM++: Grad-CAM with cells weighted for several objects. Chattopadhay et al. 2018, arXiv:1710.11063."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.class_maps import class_maps, drawn
from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.registry import attribution


@attribution(paper="arXiv:1710.11063", needs="maps")
def grad_cam_pp(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    layer: str | None = None,
    relu: bool = True,
) -> Tensor:
    """Heat map (B, 1, H, W) of the score y: sum over channels k of w_k A_k, enlarged to the image.

    w_k sums alpha g over the cells where the gradient g is positive, with the closed form for exp(score): alpha =
    g^2 / (2 g^2 + g^3 sum A_k) = 1 / (2 + g sum A_k) (equations 5, 6 and 19 of the paper). The common factor exp(score)
    is left out: it overflows and scales a whole map only. The form assumes maps that are not negative; where a sum
    below zero makes the denominator 0 or less, the cell has weight 0. In units of the score per map cell. layer: by
    default the last with useful maps (`core.default_layer`). relu: as in the paper. Bilinear, corners not aligned.
    `draws` is not used. Raises ConfigError as grad_cam does.
    """
    maps, grad = class_maps(model, x, y, layer)
    denominator = 2.0 + grad * maps.sum((2, 3), keepdim=True)  # (B, k, h, w)
    share = torch.where(denominator > 0, grad.clamp_min(0.0) / denominator, 0.0)
    return drawn((share.sum((2, 3), keepdim=True) * maps).sum(1, keepdim=True), x, relu)
