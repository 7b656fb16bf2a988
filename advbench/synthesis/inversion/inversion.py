"""Images with the same features as a given one: what a layer remembers. Mahendran and Vedaldi 2015, arXiv:1412.0035."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.activations import module_named
from advbench.core.default_layer import default_layer
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import keep_strongest
from advbench.core.layer_order import depth_of, full_name
from advbench.core.objectives import Objective
from advbench.core.priors import alpha_norm, total_variation
from advbench.core.projections import into_box
from advbench.core.step_rules import adam, cosine
from advbench.core.targets import logit
from advbench.registry import synthesis
from advbench.synthesis.inversion.feature_distance import INPUT, features_of, looking_like
from advbench.synthesis.render import Weighted, raising, render
from advbench.types import ConfigError

_SHALLOW, _RISE = 0.1, 1000.0  # total variation at the image, and how many times as much at the end


@synthesis(paper="arXiv:1412.0035")
def inversion(
    model: nn.Module,
    image: Tensor,
    *,
    draws: Draws,
    layer: str | None = None,
    variation: float | None = None,
    beta: float = 2.0,
    alpha_weight: float = 1e-3,
    alpha: float = 6.0,
    restarts: int = 2,
    steps: int = 300,
    step_size: float = 0.05,
) -> Tensor:
    """Pictures (B, C, H, W) in [0, 1] that a layer cannot tell from image (B, C, H, W).

    They minimise |f(z) - f(x)|^2 / |f(x)|^2 + variation * TV(z) + alpha_weight * mean (2 |z - 0.5|)^alpha, where TV is
    the mean over pixels and channels of (right difference^2 + lower difference^2)^(beta / 2).
    layer: its name, "input" for the pixels themselves, None for the last with maps. variation: None takes 0.1 near
    the image and up to 100 at the last layer, by the layer's depth (the paper rises by factors of ten too).
    restarts: starts from other noise, of which the picture with the lowest loss is returned. step_size: of Adam, in
    pixels, falling along a cosine. Raises ConfigError for a name that is no layer and restarts < 1.
    """
    if restarts < 1:
        raise ConfigError(f"inversion: restarts must be at least 1, got {restarts}")
    layer = default_layer(model, image, logit(0)) if layer is None else layer
    weight = variation_for(model, layer, image) if variation is None else variation
    silent, target = looking_like(features_of(model, layer, image), layer)
    network, size = silent or model, image[0].numel() if len(image) else 1
    priors: list[Weighted] = [
        (weight / size, total_variation(beta)),
        (alpha_weight * 2.0**alpha / size, alpha_norm(alpha, centre=0.5)),
    ]
    priors = [each for each in priors if each[0]]
    best, lowest = image.detach(), image.new_full((len(image),), torch.inf)
    for restart in range(restarts):
        mine = draws.branch(f"restart {restart}")
        noise = 0.1 * mine.normal(tuple(image.shape[1:]), "start").to(image)
        found = render(
            network,
            target,
            (0.5 + noise).clamp(0.0, 1.0),
            draws=mine,
            step=adam(step_size, schedule=cosine(1.0, 0.02)),
            steps=steps,
            priors=priors,
            project=into_box(),
            keep=keep_strongest,
        )
        with frozen(network), torch.no_grad():
            loss = _loss(raising(network, target, image[:1]), priors, found)
        better = loss < lowest
        best, lowest = torch.where(better[:, None, None, None], found, best), torch.where(better, loss, lowest)
    return best


def variation_for(model: nn.Module, layer: str, image: Tensor) -> float:
    """The strength of the total variation for a layer: rises by factors of ten with its depth."""
    if layer == INPUT:
        return 0.0
    depth = depth_of(model, full_name(model, module_named(model, layer)), image[:1])
    return float(_SHALLOW * _RISE**depth)


def _loss(objective: Objective, priors: list[Weighted], z: Tensor) -> Tensor:
    loss = objective(z, torch.arange(len(z), device=z.device)).loss
    return loss + sum((weight * prior(z) for weight, prior in priors), torch.zeros_like(loss))
