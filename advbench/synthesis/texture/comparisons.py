"""How far a layer's maps are from those of sample images, as textures: the losses of texture and style by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.gram import distance_from_gram, gram
from advbench.core.journal import current_step
from advbench.core.nearest_features import nearest_features
from advbench.core.sliced_wasserstein import random_directions, resampled, shadow_distance, shadows
from advbench.types import ConfigError

Distance = Callable[[Tensor, Tensor], Tensor]  # maps (A, C, H, W) of the rows (A,) -> (A,)

# Maps (B, C, h, w) of each sample, the share of each (they sum to 1), draws of the batch, a name for the draws.
Comparison = Callable[[Sequence[Tensor], Sequence[float], Draws, str], Distance]


def by_gram(samples: Sequence[Tensor], shares: Sequence[float], draws: Draws, name: str) -> Distance:
    """Squared distance of the Gram matrix from the weighted mean of those of the samples. arXiv:1505.07376."""
    wanted = torch.stack([share * gram(maps) for maps, share in zip(samples, shares, strict=True)]).sum(0)
    return lambda maps, rows: distance_from_gram(maps, wanted[rows])


def by_sliced_wasserstein(samples: Sequence[Tensor], shares: Sequence[float], draws: Draws, name: str) -> Distance:
    """Squared sliced Wasserstein distance along as many random directions as channels, new ones in each step.

    Of several samples the quantiles are averaged: their barycentre on each line. Heitz et al. 2021, arXiv:2006.07229.
    """

    def distance(maps: Tensor, rows: Tensor) -> Tensor:
        channels, count = maps.shape[1], maps.shape[2] * maps.shape[3]
        lines = random_directions(draws.rows(rows), channels, channels, name, current_step())
        with torch.no_grad():
            each = [share * resampled(shadows(s[rows], lines), count) for s, share in zip(samples, shares, strict=True)]
        return shadow_distance(shadows(maps, lines), torch.stack(each).sum(0))

    return distance


def by_nearest_features(samples: Sequence[Tensor], shares: Sequence[float], draws: Draws, name: str) -> Distance:
    """Mean cosine distance to the nearest feature vector of a sample; of several, the weighted mean. arXiv:2206.06360.

    It copies what it finds: flat pictures are near to some vector too, so it suits layers behind two poolings or more.
    """

    def distance(maps: Tensor, rows: Tensor) -> Tensor:
        each = [share * nearest_features(maps, s[rows]) for s, share in zip(samples, shares, strict=True)]
        return torch.stack(each).sum(0)

    return distance


COMPARISONS: Mapping[str, Comparison] = {
    "gram": by_gram,
    "sliced_wasserstein": by_sliced_wasserstein,
    "nearest_features": by_nearest_features,
}


def comparison_named(name: str) -> Comparison:
    """Raises ConfigError for a loss that is not in the table."""
    if name not in COMPARISONS:
        raise ConfigError(f"no texture loss {name!r}; there are: {', '.join(COMPARISONS)}")
    return COMPARISONS[name]
