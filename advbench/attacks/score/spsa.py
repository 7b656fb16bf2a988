"""Simultaneous perturbation: Adam on a gradient estimated from scores. Uesato et al. 2018, arXiv:1802.05666."""

from __future__ import annotations

from math import inf, prod

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.score.finite_differences import antithetic
from advbench.attacks.score.random_search import enough_queries
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.draws_ahead import coins
from advbench.core.gradients import frozen
from advbench.core.keep import keep_strongest
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import adam
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="scores", paper="arXiv:1802.05666", nested=True, cost=(4903, 0))
def spsa(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    pairs: int = 64,
    delta: float = 0.01,
    step_size: float = 0.01,
) -> Tensor:
    """x_adv: the strongest point on a path of Adam steps from x, each projected into the ball.

    An estimate is the mean of differences of the margin over `pairs` directions of signs times `delta`, both ways
    along each (section 4.1). step_size: Adam's, in input units. delta and step_size are the paper's; its batches have
    thousands of directions, which pays only where queries are free. queries: most forward passes of one sample; a step
    costs 2 * pairs + 1 of them.
    Raises ConfigError if threat.eps is None, pairs < 1, queries do not suffice for a step and a look at its end, or
    delta or step_size is not positive.
    """
    threat.radius  # noqa: B018
    step = 2 * at_least_one("pairs", pairs) + 1
    steps = (enough_queries(queries, step + 1, f"{step} for a step and one for a look at its end") - 1) // step
    count = pairs * prod(x.shape[1:])
    with frozen(model):
        return descend(
            x,
            misclassify(model, y, targeted=targeted, loss=margin_loss),
            step=adam(positive("step_size", step_size)),
            steps=steps,
            project=within(threat, x),
            gradient=antithetic(
                lambda rows, call: coins(draws.rows(rows), count, "directions", call),
                positive("delta", delta),
                pairs,
                threat,
            ),
            keep=keep_strongest,
        ).z
