"""CAM: the weights of the last linear layer, painted on the maps it averages. Zhou et al. 2016, arXiv:1512.04150."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.class_maps import drawn
from advbench.core.draws import Draws
from advbench.core.global_pool import Pooled, global_mean
from advbench.core.gradients import attending, frozen
from advbench.core.scoring import row_pieces, score_with_graph
from advbench.core.targets import Explained, Target, as_target
from advbench.registry import attribution
from advbench.types import ConfigError

_ADVICE = "hires_cam and grad_cam work for every network with maps"


@attribution(paper="arXiv:1512.04150", needs="pooled maps")
def cam(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None, relu: bool = False) -> Tensor:
    """Heat map (B, 1, H, W) of the score y: sum over channels k of w_k f_k, enlarged to the image.

    f (B, k, h, w) is what the network averages over rows and columns before its head, w_k the score's weight of that
    mean (section 2 of the paper). In units of the score, signed: the mean of the small map and the head's bias add up
    to the score. Where the averaged maps are the scores of the classes (SqueezeNet), the map of y itself: all zero for
    a class whose map is nowhere positive. relu: keep the evidence for y only. Bilinear, corners not aligned. `draws` is
    not used. Raises ConfigError if the network has no global mean (VGG, AlexNet, ViT) or if the score is not linear in
    the means (a hidden layer or a norm in the head, a probability).
    """
    target = as_target(y)
    with frozen(model):
        heat = [_cam(model, x[rows].detach(), target, rows, check=i == 0) for i, rows in enumerate(row_pieces(x))]
    return drawn(torch.cat(heat), x, relu)


def _cam(model: nn.Module, z: Tensor, target: Target, rows: Tensor, *, check: bool) -> Tensor:
    with torch.enable_grad(), attending(rows):
        with global_mean() as pooled:
            score = score_with_graph(model, z, target, rows)
        if pooled.maps is None or pooled.means is None:
            raise ConfigError(f"cam: {type(model).__name__} takes no mean over all of a map; {_ADVICE}")
        if not score.requires_grad:
            raise ConfigError(f"cam: {target.name} does not depend on the global mean; {_ADVICE}")
        (weights,) = torch.autograd.grad(score.sum(), pooled.means, materialize_grads=True)  # (A, k)
    if check and len(z) and not _is_linear(model, z[:1], target, rows[:1], pooled):
        raise ConfigError(
            f"cam: {target.name} is no linear function of {type(model).__name__}'s global mean; {_ADVICE}"
        )
    return (weights[:, :, None, None] * pooled.maps).sum(1, keepdim=True)


def _is_linear(model: nn.Module, z: Tensor, target: Target, rows: Tensor, pooled: Pooled) -> bool:
    """Is the score a linear function of the means and a bias? Found by putting others in their place."""
    assert pooled.maps is not None
    # 0, 1 and -2 times a direction lie on a line. Three images, as a way around the pooling would tell them apart.
    images = torch.cat([z, z.flip(2), torch.zeros_like(z)])
    direction = torch.arange(1, pooled.maps.shape[1] + 1, device=z.device, dtype=z.dtype).mul(2.4).cos()
    means = direction * torch.tensor([[0.0], [1.0], [-2.0]], device=z.device, dtype=z.dtype)
    rows = rows.expand(3)
    with torch.no_grad(), attending(rows), global_mean((pooled.calls - 1, means)):
        bias, once, back = score_with_graph(model, images, target, rows).double().tolist()
    bend: float = abs((back - bias) + 2.0 * (once - bias))
    allowed: float = 1e-3 * max(abs(once - bias), abs(back - bias)) + 1e-5 * abs(bias)
    return bend <= allowed
