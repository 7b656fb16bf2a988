"""What is done to a picture after each step of its ascent: decay, blur, small values and small contributions to zero.

In this order, and last the clamp: Yosinski et al. 2015, arXiv:1506.06579, section 4. What was set to zero is free again
at the next step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.journal import current_step
from advbench.core.projections import Project
from advbench.core.step_rules import State, StepRule
from advbench.core.transforms import blur


class Kept(NamedTuple):
    """The step rule and the projection that belong together: the second needs the gradient that the first was given."""

    step: StepRule
    project: Project


def kept_up(
    step: StepRule,
    *,
    decay: float = 0.0,
    sigma: float = 0.0,
    every: int = 4,
    small_values: float = 0.0,
    small_contributions: float = 0.0,
    low: Tensor | float = -torch.inf,
    high: Tensor | float = torch.inf,
) -> Kept:
    """`step`, and after it a projection of z (A, C, H, W): times 1 - decay; after each `every` steps a blur of `sigma`
    pixels; the two percentages of pixels with the smallest length over colours and the smallest contribution to zero;
    into [low, high].

    The contribution of a pixel is what setting it to zero adds to the loss, to first order: |sum over colours of
    -gradient * z|. Raises ValueError for a percentage outside of [0, 100], a decay outside of [0, 1], every < 1.
    """
    if not (0 <= decay <= 1 and every >= 1 and 0 <= small_values <= 100 and 0 <= small_contributions <= 100):
        raise ValueError(
            "upkeep: need decay in [0, 1], every >= 1 and percentages in [0, 100], got "
            f"{decay}, {every}, {small_values}, {small_contributions}"
        )
    blurred, nobody = blur(sigma), Draws(0, torch.zeros(0, dtype=torch.int64))
    seen: list[Tensor] = []  # the gradient of this step, for the projection that follows it

    def update(grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        seen[:] = [grad]
        return step.update(grad, state, progress)

    def project(z: Tensor, rows: Tensor) -> Tensor:
        z = z if decay == 0 else (1.0 - decay) * z
        if sigma > 0 and (current_step() + 1) % every == 0:
            z = blurred(z, nobody, 0)
        if small_values > 0:
            z = without_smallest(z, z.square().sum(1), small_values)
        if small_contributions > 0:
            z = without_smallest(z, (-seen[0] * z).sum(1).abs(), small_contributions)
        bounded = not (isinstance(low, float) and isinstance(high, float) and low == -high == -torch.inf)
        return (
            torch.minimum(torch.maximum(z, torch.as_tensor(low).to(z)), torch.as_tensor(high).to(z)) if bounded else z
        )

    return Kept(StepRule(step.init, update), project)


def without_smallest(z: Tensor, size: Tensor, percent: float) -> Tensor:
    """z (A, C, H, W) with the `percent` of pixels whose size (A, H, W) is smallest set to zero, in each image."""
    flat = size.flatten(1)
    count = round(percent / 100.0 * flat.shape[1])
    smallest = flat.topk(count, dim=1, largest=False).indices
    mask = torch.ones_like(flat).scatter(1, smallest, 0.0)
    return z * mask.reshape(len(z), 1, *z.shape[2:])
