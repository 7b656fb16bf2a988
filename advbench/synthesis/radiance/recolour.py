"""The colours of a field made those of pictures: an affine map, which a field takes as well as its images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from advbench.synthesis.radiance.rendering import Sight, shown
from advbench.synthesis.radiance.viewpoints import Viewpoints

_LEAST = 1e-5  # variance added to flat pictures' colours: a tenth of a grey level squared
_SOLID = 0.5  # share of a pixel that the scene must fill for its colour to count


def recoloured(colours: Tensor, views: Viewpoints, pictures: Sequence[Tensor]) -> Tensor:
    """colours (1, C, D, D, D) mapped so that what is seen of them has mean and covariance of the pictures' colours.

    pictures (1, C, h, w): all their pixels together. Since images are linear in the colours, this transfers the
    colours of all views at once. Cut off at [0, 1]; a field that is nowhere seen stays as it is. Zhang et al. 2022,
    arXiv:2206.06360; Hertzmann et al. 2001, doi:10.1145/383259.383295.
    """
    with torch.no_grad():
        mine = torch.cat([_solid_colours(colours, sight) for n in range(len(views)) for sight in views.sights(n)])
        if not len(mine):
            return colours
        theirs = torch.cat([each.flatten(2)[0].T for each in pictures])
        matrix = _power(_covariance(theirs), 0.5) @ _power(_covariance(mine), -0.5)
        shift = theirs.mean(0) - matrix @ mine.mean(0)
        mapped = (matrix @ colours.flatten(2) + shift[:, None]).clamp(0.0, 1.0)
        return mapped.reshape(colours.shape)


def _solid_colours(colours: Tensor, sight: Sight) -> Tensor:
    """Colours (M, C) of the scene itself at pixels that it fills."""
    filled = sight.left < _SOLID
    return shown(colours, sight)[filled] / (1.0 - sight.left[filled])[:, None]


def _covariance(colours: Tensor) -> Tensor:
    centred = colours - colours.mean(0)
    return centred.T @ centred / len(colours)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = vectors @ torch.diag(values.clamp_min(_LEAST).pow(exponent)) @ vectors.T
    return power
