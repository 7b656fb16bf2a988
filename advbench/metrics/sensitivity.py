"""Max-sensitivity: how much a map changes when the image hardly does. Yeh et al. 2019, arXiv:1901.09392."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.scoring import all_rows

Explainer = Callable[[Tensor], Tensor]  # images (B, C, H, W), always of the same samples -> their maps (B, ...)


def sensitivity(
    explain: Explainer,
    x: Tensor,
    *,
    draws: Draws | None = None,
    radius: float = 0.02,
    samples: int = 10,
    relative: bool = True,
) -> Tensor:
    """(B,) float64, at least 0: the largest |explain(x + d) - explain(x)|_2 over `samples` d with |d|_inf <= radius.

    d is uniform in the cube of half side `radius` (input units; 0.02 is five grey levels), the same
    directions for every radius; x + d is not clipped. A lower bound of the paper's maximum. relative: divided by
    |explain(x)|_2, so that maps of different units compare; nan where that map is zero. An explainer that draws must
    draw the same at each call, or its own noise is measured. Raises ValueError if samples < 1 or radius < 0.
    """
    if samples < 1 or radius < 0:
        raise ValueError(f"sensitivity: needs samples >= 1 and radius >= 0, got {samples} and {radius}")
    draws = Draws(0, all_rows(x)) if draws is None else draws
    x = x.detach()
    heat = explain(x).detach().double()
    largest = heat.new_zeros(len(x))
    for i in range(samples):
        direction = 2.0 * draws.uniform(tuple(x.shape[1:]), "sensitivity", i).to(x) - 1.0
        change = explain(x + radius * direction).detach().double() - heat
        largest = torch.maximum(largest, change.flatten(1).square().sum(1).sqrt())
    if not relative:
        return largest
    length = heat.flatten(1).square().sum(1).sqrt()
    return torch.where(length > 0, largest / torch.where(length > 0, length, 1.0), torch.nan)
