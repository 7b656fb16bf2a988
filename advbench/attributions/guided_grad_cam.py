"""Guided Grad-CAM: guided backpropagation where Grad-CAM is warm. Selvaraju et al. 2017, arXiv:1610.02391."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.attributions.grad_cam import grad_cam
from advbench.attributions.guided_backprop import guided_backprop
from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.registry import attribution


@attribution(paper="arXiv:1610.02391", needs="relu")
def guided_grad_cam(
    model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None, layer: str | None = None
) -> Tensor:
    """Signed map (B, C, H, W) of the score y: guided_backprop times grad_cam, as in section 3 of the paper.

    The fine lines of the first, in the places of the second: zero where Grad-CAM, after its ReLU, is zero. In units of
    the score, squared, per pixel and map cell. layer: of Grad-CAM, by default the last with useful maps
    (`core.default_layer`); its map is enlarged bilinearly, corners not aligned. `draws` is not used. Raises ConfigError
    for a model with another activation than ReLU and where grad_cam does.
    """
    # First, as a model that is refused should be refused before work is done.
    fine = guided_backprop(model, x, y)
    return fine * grad_cam(model, x, y, layer=layer)
