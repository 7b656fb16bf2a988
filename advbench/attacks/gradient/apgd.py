"""Auto-PGD: no step size to choose. Croce and Hein 2020, arXiv:2003.01690; in l1 2021, arXiv:2103.01208."""

from __future__ import annotations

from math import inf
from typing import Literal

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.gradient.auto_pgd_loop import auto_pgd
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import Kept, keep_better, keep_strongest, nothing_kept
from advbench.core.losses import Loss, cross_entropy, dlr
from advbench.core.mean_gradient import mean_evaluate
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.restarts import in_turns
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

LOSSES: dict[str, Loss] = {"ce": cross_entropy, "dlr": dlr}


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:2003.01690", nested=True, ratio=1.01, cost=(104, 100))
def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    x_start: Tensor | None = None,
    loss: Literal["ce", "dlr"] = "ce",
    steps: int = 100,
    restarts: int = 1,
    rho: float = 0.75,
    samples: int = 1,
    early_stop: bool = True,
) -> Tensor:
    """x_adv: the strongest iterate: an adversarial one, else that of the highest loss (lowest, if `targeted`).

    Steps start at 2 eps (l1: eps) and get shorter, per sample, where the loss stalls; the run then goes on from its
    best point. loss: cross entropy or the difference of logits ratio. restarts: runs from different random starts, each
    for the samples that survived all before it. rho: a step is halved unless the loss improved in more than this share
    of the steps since the last checkpoint (not used in l1). samples: passes over which loss and gradient of each point
    are averaged, for a model that is random itself (arXiv:1802.00420; AutoAttack takes 20); a point is adversarial if
    it is one in all of them. x_start (B, C, H, W): the first run starts there instead, drawn into the ball. early_stop:
    leave a sample alone once it is adversarial; `transfer` turns that off.
    Raises ConfigError if threat.eps is None, steps, restarts or samples < 1, rho is not positive, or the loss is
    unknown.
    """
    threat.radius, positive("rho", rho), at_least_one("steps", steps), at_least_one("restarts", restarts)
    at_least_one("samples", samples)
    if loss not in LOSSES:
        raise ConfigError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")

    def run(left: Tensor, turn: int) -> Kept:
        objective = misclassify(model, y[left], targeted=targeted, loss=LOSSES[loss])
        return auto_pgd(
            x[left],
            objective,
            threat,
            draws=draws.rows(left),
            steps=steps,
            rho=rho,
            early_stop=early_stop,
            counter=turn,
            x_start=x_start[left] if x_start is not None and turn == 0 else None,
            samples=samples,
        )

    kept, rows = nothing_kept(x), torch.arange(len(x), device=x.device)
    with frozen(model):
        if early_stop:  # what is wrong already needs no attack
            objective = misclassify(model, y, targeted=targeted, loss=LOSSES[loss])
            for z in (x,) if x_start is None else (x, within(threat, x)(x_start, rows)):
                kept = keep_better(kept, z, mean_evaluate(objective, z, rows, samples=samples), rows, keep_strongest)
        return in_turns(kept, restarts, run, survivors_only=early_stop).z
