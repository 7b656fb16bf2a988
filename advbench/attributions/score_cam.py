"""Score-CAM: maps weighted by the score of the image seen through them. Wang et al. 2020, arXiv:1910.01279."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.class_maps import drawn
from advbench.core.default_layer import default_layer
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, fitting_piece, scores_at, turns
from advbench.core.spatial import enlarge, layer_maps
from advbench.core.targets import Explained, Target, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1910.01279", needs="maps")
def score_cam(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    layer: str | None = None,
    relu: bool = True,
    baseline: float = 0.0,
) -> Tensor:
    """Heat map (B, 1, H, W) of the score y: sum over channels k of alpha_k A_k, enlarged to the image.

    A (B, k, h, w) are the maps of `layer`. Each, enlarged and scaled to [0, 1], is a mask through which the image is
    looked at; alpha is the softmax over channels of the scores of these images (algorithm 1 of the paper). In units of
    the maps; without a gradient, k forward passes for each image, none for a map that is the same everywhere.
    layer: by default the last with useful maps (`core.default_layer`). relu: keep the evidence for y only, as in the
    paper. baseline: what stands where a mask is 0, in pixel units; 0 is black (the paper's 0 is taken after the
    normalisation, the mean colour of the data). Bilinear, corners not aligned. `draws` is not used. Raises ConfigError
    if the model has no layer with rows and columns or if there is no such layer.
    """
    target = as_target(y)
    layer = default_layer(model, x, target) if layer is None else layer
    maps = layer_maps(model, x, layer)
    with frozen(model):
        alpha = _seen_through(model, x.detach(), maps, target, baseline).softmax(1)  # (B, k)
    return drawn((alpha[:, :, None, None] * maps).sum(1, keepdim=True), x, relu)


def _seen_through(model: nn.Module, x: Tensor, maps: Tensor, target: Target, baseline: float) -> Tensor:
    """Scores (B, k) of the images x (B, C, H, W), each looked at through each of its maps (B, k, h, w)."""
    # Through a map that is the same everywhere nothing is seen: all of an image's have one score.
    blank = scores_at(model, torch.full_like(x, baseline), target, all_rows(x))
    seen = blank[:, None].repeat(1, maps.shape[1])
    sample, channel = (maps.amax((2, 3)) > maps.amin((2, 3))).nonzero(as_tuple=True)
    for part in turns(len(sample), 1, fitting_piece(x)):
        rows, one = sample[part.start : part.stop], channel[part.start : part.stop]
        mask = enlarge(maps[rows, one][:, None], (x.shape[2], x.shape[3]))  # (A, 1, H, W)
        low, high = mask.amin((2, 3), keepdim=True), mask.amax((2, 3), keepdim=True)
        mask = (mask - low) / (high - low).clamp_min(torch.finfo(mask.dtype).tiny)
        seen[rows, one] = scores_at(model, torch.lerp(torch.full_like(x[:1], baseline), x[rows], mask), target, rows)
    return seen
