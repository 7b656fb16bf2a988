"""An image that a target likes: target, parameterisation, views and priors put into the one loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.activations import Partial
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.journal import shown_by
from advbench.core.keep import Keep, keep_latest
from advbench.core.memory_order import in_wanted_order
from advbench.core.objectives import Objective
from advbench.core.parameterisations import Parameterisation, pixels
from advbench.core.priors import Prior
from advbench.core.projections import Project, identity
from advbench.core.step_rules import StepRule
from advbench.core.targets import Reading, Target, scores
from advbench.core.transforms import View, through_views
from advbench.types import ConfigError, Evaluation

Weighted = tuple[float, Prior]


def render(
    model: nn.Module,
    target: Target,
    start: Tensor,
    *,
    draws: Draws,
    step: StepRule,
    steps: int,
    parameterisation: Parameterisation | None = None,
    view: View | None = None,
    looks: int = 1,
    priors: Sequence[Weighted] = (),
    project: Project = identity,
    keep: Keep = keep_latest,
) -> Tensor:
    """Images (B, C, H, W) that raise the target's score, less the priors, from the free variables `start` (B, ...).

    start: of the `parameterisation` (None: the pixels themselves). view: looks at the image that the network gets,
    `looks` of them in each step; priors judge the image itself. The pass through the network ends where the target
    needs no more of it. Raises ConfigError for steps below 0; without any, the start comes back.
    """
    if steps < 0:
        raise ConfigError(f"steps must not be negative, got {steps}")
    written = parameterisation or pixels()
    with frozen(model), shown_by(written.decode):
        first = written.decode(start[:1].detach())
        seen = first if view is None else view(first, draws.rows(torch.arange(1, device=start.device)), 0)
        raised = raising(model, target, seen)
        looked = raised if view is None else through_views(view, draws, raised, looks=looks)

        def objective(z: Tensor, rows: Tensor) -> Evaluation:
            image = written.decode(z)
            loss, reached = looked(image, rows)
            for weight, prior in priors:
                loss = loss + weight * prior(image)
            return Evaluation(loss, reached)

        found = descend(start, objective, step=step, steps=steps, project=project, keep=keep, stop=None)
        return written.decode(found.z).detach()


def raising(model: nn.Module, target: Target, probe: Tensor) -> Objective:
    """Raise the target's score; never reached. probe (1, C, H, W): an image like those to come."""
    partial = None if target.whole else in_wanted_order(model, probe, lambda z: Partial(model, target.layers, z))

    def value(z: Tensor, rows: Tensor) -> Tensor:
        if partial is None:
            return scores(model, z, target, rows)
        if (part := target.parts) is not None:
            parts = partial(z, lambda layer, output: part(layer, output, rows))
            return torch.stack(list(parts.values())).sum(0)
        return target.read(Reading(z.new_empty(0), partial(z), rows))

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        score = in_wanted_order(model, z, lambda ordered: value(ordered, rows))
        return Evaluation(-score, torch.zeros_like(score, dtype=torch.bool))

    return objective
