"""Guided Grad-CAM: guided backpropagation where Grad-CAM is warm. Selvaraju et al. 2017, arXiv:1610.02391."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.class_maps import drawn, weighted_maps
from advbench.core.default_layer import default_layer
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen
from advbench.core.relu_rules import ReluRule, derivative, guided, relu_rule
from advbench.core.scoring import row_pieces
from advbench.core.spatial import layer_pass, maps_and_gradient
from advbench.core.targets import Explained, Target, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1610.02391", needs="relu")
def guided_grad_cam(
    model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None, layer: str | None = None
) -> Tensor:
    """Signed map (B, C, H, W) of the score y: guided_backprop times grad_cam, as in section 3 of the paper.

    The fine lines of the first, in the places of the second: zero where Grad-CAM, after its ReLU, is zero. In units of
    the score, squared, per pixel and map cell. layer: of Grad-CAM, by default the last with useful maps
    (`core.default_layer`); its map is enlarged bilinearly, corners not aligned. One forward pass serves both, and the
    way down is taken twice only above the layer. `draws` is not used. Raises ConfigError for a model with another
    activation than ReLU or with none, and where grad_cam does.
    """
    target = as_target(y)
    seen = default_layer(model, x, target) if layer is None else layer
    with frozen(model), torch.enable_grad():
        return torch.cat([_product(model, x[rows], target, rows, seen) for rows in row_pieces(x)])


class _Switched:
    """A rule for ReLUs that can be exchanged between two ways down through one graph."""

    def __init__(self, rule: ReluRule) -> None:
        self.rule = rule

    def __call__(self, signal: Tensor, is_open: Tensor) -> Tensor:
        return self.rule(signal, is_open)


def _product(model: nn.Module, z: Tensor, target: Target, rows: Tensor, layer: str) -> Tensor:
    leaf, switched = z.detach().requires_grad_(True), _Switched(derivative)
    with attending(rows), relu_rule(switched, "guided_grad_cam"):
        seen = layer_pass(model, leaf, target, rows, layer, cut=False)
        warm = weighted_maps(*maps_and_gradient(seen, layer, keep_graph=True))
        switched.rule = guided
        (fine,) = torch.autograd.grad(seen.score.sum(), leaf, materialize_grads=True)
    return fine.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).contiguous() * drawn(warm, z, relu=True)
