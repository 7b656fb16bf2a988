"""The facets of a unit: groups among the images that it likes, found in the features before the last layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor, nn

from advbench.core.activations import Partial
from advbench.core.gradients import frozen
from advbench.core.layer_order import finishing_order
from advbench.core.targets import Target, scores
from advbench.types import ConfigError

_BATCH = 32


class Facets(NamedTuple):
    """start (F, C, H, W): the mean of the images nearest to each group's centre. members: their places (F, <= nearest)
    among the images, best first. silhouette: how well the groups lie apart, -1 .. 1; nan for one group."""

    start: Tensor
    members: list[list[int]]
    silhouette: float


def find_facets(
    model: nn.Module,
    target: Target,
    images: Tensor,
    *,
    most: int = 10,
    liked: int = 150,
    nearest: int = 15,
    layer: str | None = None,
    seed: int = 0,
) -> Facets:
    """k-means on the features of the `liked` images (N, C, H, W) with the highest score; 2 to `most` groups, whichever
    have the best silhouette, largest group first. Fewer than 4 images, or equal ones, are one facet.

    layer: None for what the last layer with weights looks at. The paper has 10 groups and means of 15 images.
    Nguyen et al. 2016, arXiv:1602.03616. Raises ConfigError without images or for most < 1.
    """
    if most < 1 or len(images) < 1:
        raise ConfigError(f"facets: need an image and most >= 1, got {len(images)} images and {most}")
    best = _all_scores(model, target, images).topk(min(liked, len(images))).indices
    shown = images[best]
    values = _features(model, layer or penultimate(model, images[:1]), shown).double().cpu().numpy()
    groups, quality = torch.zeros(len(shown), dtype=torch.int64), float("nan")
    for count in range(2, min(most, len(shown) - 2) + 1):
        fit = KMeans(count, n_init=4, random_state=seed % 2**32).fit(values)
        if len(set(fit.labels_)) < 2:
            break
        found = float(silhouette_score(values, fit.labels_))
        if not quality >= found:
            groups, quality = torch.from_numpy(fit.labels_).long(), found
    sizes = groups.bincount()
    members = []
    for group in sizes.argsort(descending=True, stable=True):
        inside = (groups == group).nonzero()[:, 0]
        points = torch.from_numpy(values)[inside]
        order = (points - points.mean(0)).norm(dim=1).argsort(stable=True)[:nearest]
        members.append([int(best[i]) for i in inside[order]])
    return Facets(torch.stack([images[places].mean(0) for places in members]), members, quality)


def penultimate(model: nn.Module, image: Tensor) -> str:
    """The layer whose output the last convolution or linear layer looks at.

    Raises ConfigError for a network with fewer than two layers.
    """
    modules, names = dict(model.named_modules()), list(finishing_order(model, image))
    weighted = [i for i, name in enumerate(names) if isinstance(modules[name], nn.Conv2d | nn.Linear)]
    if not weighted or weighted[-1] == 0:
        raise ConfigError(f"{type(model).__name__} has no layer before its last: name one")
    return names[weighted[-1] - 1]


def _all_scores(model: nn.Module, target: Target, images: Tensor) -> Tensor:
    rows = torch.arange(len(images), device=images.device)
    with torch.no_grad(), frozen(model):
        parts = zip(torch.split(images, _BATCH), torch.split(rows, _BATCH), strict=True)
        return torch.cat([scores(model, part, target, numbers) for part, numbers in parts])


def _features(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Per image, averaged over rows and columns where there are any: (N, K)."""
    with torch.no_grad(), frozen(model):
        partial = Partial(model, [layer], images[:1])
        parts = [partial(part)[layer] for part in torch.split(images, _BATCH)]
    maps = torch.cat(parts)
    return maps.flatten(2).mean(2) if maps.dim() == 4 else maps.flatten(1)
