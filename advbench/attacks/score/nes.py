"""Natural evolution strategies: PGD on a gradient estimated from scores. Ilyas et al. 2018, arXiv:1804.08598."""

from __future__ import annotations

from math import inf, prod

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.score.finite_differences import antithetic
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import keep_strongest
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(2, inf), access="scores", paper="arXiv:1804.08598", nested=True, cost=(4950, 0))
def nes(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 5000,
    pairs: int = 50,
    sigma: float = 0.001,
    relative_step: float = 0.2,
) -> Tensor:
    """x_adv: the strongest point on a path of steps from x, along the sign (linf) or the direction (l2) of an estimate.

    An estimate is the mean of differences of the margin over `pairs` Gaussian directions of deviation `sigma`, both
    ways along each (section 3.1; the values are those of appendix A). The margin instead of the paper's log probability
    still has a slope where a sure model's probability is 1 in float32. relative_step: length of a step in units of eps;
    the paper's 0.01 at eps = 0.05. queries: most forward passes of one sample; a step costs 2 * pairs + 1 of them.
    Raises ConfigError if threat.eps is None, queries or pairs < 1, or sigma or relative_step is not positive.
    """
    steps = (at_least_one("queries", queries) - 1) // (2 * at_least_one("pairs", pairs) + 1)
    size = positive("relative_step", relative_step) * threat.radius
    shape = (pairs, prod(x.shape[1:]))
    with frozen(model):
        return descend(
            x,
            misclassify(model, y, targeted=targeted, loss=margin_loss),
            step=steepest(threat.norm, size),
            steps=steps,
            project=within(threat, x),
            gradient=antithetic(
                lambda rows, step: draws.rows(rows).normal(shape, "directions", step),
                positive("sigma", sigma),
                pairs,
                threat,
            ),
            keep=keep_strongest,
        ).z
