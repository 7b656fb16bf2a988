"""Grad-CAM: the feature maps that raise the class score. Selvaraju et al. 2017, arXiv:1610.02391."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.activations import last_conv, record
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.registry import attribution
from advbench.types import ConfigError


@attribution(paper="arXiv:1610.02391")
def grad_cam(
    model: nn.Module, x: Tensor, y: Tensor, *, draws: Draws | None = None, layer: str | None = None, relu: bool = True
) -> Tensor:
    """Heat map (B, 1, H, W) of the raw score of y (B,): sum over channels k of alpha_k A_k, enlarged to the image.

    A (B, k, h, w) is the output of `layer` (default: the last convolution), alpha_k the mean over h, w of the score's
    gradient with respect to A_k (equations 1 and 2 of the paper). relu: keep the evidence for y only, as in the paper.
    Bilinear, corners not aligned. `draws` is not used. Raises ConfigError if the model has no convolution and no layer
    is named, if there is no such layer, or if its output is not (B, k, h, w).
    """
    layer = last_conv(model) if layer is None else layer
    with frozen(model), torch.enable_grad(), record(model, [layer]) as outputs:
        # The image wants a gradient so that the frozen network builds a graph at all.
        logits = model(x.detach().requires_grad_(True))
        maps = outputs.get(layer)  # (B, k, h, w)
        if maps is None or maps.dim() != 4:
            found = "no output" if maps is None else f"an output of shape {tuple(maps.shape)}"
            raise ConfigError(f"grad_cam: layer {layer!r} has {found}; it must be (B, C, H, W)")
        score = logits.gather(1, y[:, None]).sum()
        (grad,) = torch.autograd.grad(score, maps, materialize_grads=True)
    heat = (grad.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True)  # (B, 1, h, w)
    heat = functional.interpolate(heat.clamp_min(0.0) if relu else heat, x.shape[2:], mode="bilinear")
    return heat.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
