"""The colours of a field made those of pictures: an affine map, which a field takes as well as its images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from advbench.synthesis.colour_match import colour_map
from advbench.synthesis.radiance.rendering import Sight, shown
from advbench.synthesis.radiance.viewpoints import Viewpoints

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
        theirs = torch.cat([each.flatten(2) for each in pictures], dim=2)
        matrix, shift = colour_map(mine.T[None], theirs)
        return (matrix @ colours.flatten(2) + shift).clamp(0.0, 1.0).reshape(colours.shape)


def _solid_colours(colours: Tensor, sight: Sight) -> Tensor:
    """Colours (M, C) of the scene itself at pixels that it fills."""
    filled = sight.left < _SOLID
    return shown(colours, sight)[filled] / (1.0 - sight.left[filled])[:, None]
