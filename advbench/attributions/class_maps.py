"""What all methods of the CAM family share: the maps of a layer with their gradient, and the way back to the image."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.default_layer import default_layer
from advbench.core.spatial import LayerGradient, enlarge, layer_gradient
from advbench.core.targets import Explained, as_target


def class_maps(model: nn.Module, x: Tensor, y: Explained, layer: str | None) -> LayerGradient:
    """The layer's maps for x and the gradient of y's score with respect to them, both (B, k, h, w).

    layer: None for the last with useful maps. Raises ConfigError if the model or the layer has none.
    """
    target = as_target(y)
    return layer_gradient(model, x, target, default_layer(model, x, target) if layer is None else layer)


def weighted_maps(maps: Tensor, grad: Tensor) -> Tensor:
    """(B, 1, h, w): the maps (B, k, h, w), each times its gradient's mean, added up. arXiv:1610.02391, (1) and (2)."""
    return (grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)


def drawn(heat: Tensor, x: Tensor, relu: bool) -> Tensor:
    """heat (B, 1, h, w) at the size of x, finite; relu: what speaks against the score becomes 0, as in the papers."""
    return enlarge(heat.clamp_min(0.0) if relu else heat, (x.shape[2], x.shape[3])).nan_to_num(0.0, 0.0, 0.0)
