"""Natural evolution strategies: PGD on a gradient estimated from scores. Ilyas et al. 2018, arXiv:1804.08598."""

from __future__ import annotations

from math import inf, prod

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.score.finite_differences import antithetic
from advbench.attacks.score.random_search import enough_queries
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import Gradient, frozen
from advbench.core.keep import keep_strongest
from advbench.core.losses import margin_loss
from advbench.core.norms import per_sample
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import within
from advbench.core.step_rules import plain, steepest
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_SHORTEST = 1 / 200  # the authors' code halves a step of 0.01 no further than to 5e-5


@attack(norms=(2, inf), access="scores", paper="arXiv:1804.08598", nested=True, cost=(4999, 0))
def nes(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    pairs: int = 25,
    sigma: float = 0.001,
    relative_step: float = 0.2,
    decay: float = 0.9,
    plateau: int = 5,
) -> Tensor:
    """x_adv: the strongest point on a path of steps from x, along the sign (linf) or the direction (l2) of an estimate.

    An estimate is the mean of differences of the margin over `pairs` Gaussian directions of deviation `sigma`, both
    ways along each (section 3.1; 50 queries and 0.001 are those of appendix A). The margin instead of the paper's log
    probability still has a slope where a sure model's probability is 1 in float32. As in the code of the authors, steps
    follow g = decay * g + (1 - decay) * estimate, and a step is halved when the loss is higher than `plateau` - 1 steps
    ago, never below 1/200 of the first. relative_step: length of the first step in units of eps; the paper's 0.01 at
    eps = 0.05. queries: most forward passes of one sample; a step costs 2 * pairs + 1 of them.
    Raises ConfigError if threat.eps is None, pairs < 1, queries do not suffice for a step and a look at its end,
    plateau < 2, decay is not in [0, 1), or sigma or relative_step is not positive.
    """
    if plateau < 2:
        raise ConfigError(f"plateau must be at least 2, got {plateau}")
    if not 0.0 <= decay < 1.0:
        raise ConfigError(f"decay must be in [0, 1), got {decay}")
    step = 2 * at_least_one("pairs", pairs) + 1
    steps = (enough_queries(queries, step + 1, f"{step} for a step and one for a look at its end") - 1) // step
    size = positive("relative_step", relative_step) * threat.radius
    shape = (pairs, prod(x.shape[1:]))
    estimate = antithetic(
        lambda rows, call: draws.rows(rows).normal(shape, "directions", call), positive("sigma", sigma), pairs, threat
    )
    with frozen(model):
        return descend(
            x,
            misclassify(model, y, targeted=targeted, loss=margin_loss),
            step=plain(1.0),
            steps=steps,
            project=within(threat, x),
            gradient=_Slope(x, estimate, threat.norm, size=size, decay=decay, plateau=plateau).gradient,
            keep=keep_strongest,
        ).z


class _Slope:
    """What every sample remembers: the running mean of its estimates, the size of its step and its last losses."""

    def __init__(self, x: Tensor, estimate: Gradient, norm: float, *, size: float, decay: float, plateau: int) -> None:
        self.estimate, self.decay, self.plateau = estimate, decay, plateau
        self.towards = steepest(norm, 1.0).update
        self.mean = torch.zeros_like(x)
        self.size, self.shortest = x.new_full((len(x),), size), size * _SHORTEST
        self.losses = x.new_zeros(len(x), plateau)  # the latest last
        self.known = torch.zeros(len(x), dtype=torch.long, device=x.device)  # how many of them are since the last cut

    def gradient(self, objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
        """The objective at z, and minus the step to take from there."""
        evaluation, grad = self.estimate(objective, z, rows)
        mean = self.decay * self.mean[rows] + (1.0 - self.decay) * grad
        losses = torch.cat([self.losses[rows, 1:], evaluation.loss[:, None].to(z.dtype)], 1)
        known = self.known[rows] + 1
        stuck = (known >= self.plateau) & (losses[:, -1] > losses[:, 0])
        size = torch.where(stuck, (0.5 * self.size[rows]).clamp_min(self.shortest), self.size[rows])
        self.mean[rows], self.losses[rows], self.size[rows] = mean, losses, size
        self.known[rows] = torch.where(stuck, 0, known)
        move, _ = self.towards(mean, (), 0.0)
        return evaluation, -torch.as_tensor(per_sample(size, z)) * move
