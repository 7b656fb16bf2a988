"""Fast adaptive boundary attack: along the linearised boundary to the nearest example. Croce and Hein 2020."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.minimum_norm.boundary_walk import Walk, somewhere, walk
from advbench.attacks.minimum_norm.first_look import first_look
from advbench.attacks.minimum_norm.linearise import margin_plane, nearest_plane
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import nearest_found
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import ThreatModel


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:1907.02044", minimum_norm=True, ratio=1.01, cost=(204, 900))
def fab(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 100,
    restarts: int = 1,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    search_steps: int = 3,
    candidates: int | None = None,
) -> Tensor:
    """The nearest example found, x itself if none; with a radius a sample leaves once its example is in the ball.

    Each step linearises the boundary to every other class, takes the nearest (towards a target: that of the best other
    class) and goes `eta` times as far as its nearest point in the box, drawn towards the same step from x with a weight
    of at most `alpha_max`. An adversarial point is recorded and brought back to x + beta (z - x). restarts: runs; the
    first starts at x, the others on the sphere of half the radius, or of half the distance found if that is less.
    search_steps: evaluations of the final search between x and the example. Defaults as in the paper.
    The cost is two forward passes and one backward pass per class and step. candidates: only so many classes, the best
    at x besides y, are looked at (None: all). Two with 250 steps cost as much as nine with 100: in l1 that was 4, 11 %
    nearer on two nets, in l2 2 to 3 % on two whose gradients mislead, and 0 to 2 % farther elsewhere.
    Raises ConfigError if steps, restarts or candidates < 1, search_steps < 0, or another number is not positive.
    """
    how = Walk(
        at_least_one("steps", steps), positive("alpha_max", alpha_max), positive("eta", eta), positive("beta", beta)
    )
    at_least_zero("search_steps", search_steps)
    if candidates is not None:
        at_least_one("candidates", candidates)
    objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
    with frozen(model):
        logits, margin, kept = first_look(model, x, y, targeted=targeted)
        linearise = margin_plane(objective) if targeted else nearest_plane(model, y, logits, threat.norm, candidates)
        for run in range(at_least_one("restarts", restarts)):
            start = x if run == 0 else somewhere(x, kept, threat, draws, run=run)
            kept = walk(kept, start, x, threat, objective=objective, linearise=linearise, how=how)
        slack = slack_of(margin, logits)
        kept = pull_back(objective, x, margin, kept, threat=threat, steps=search_steps, slack=slack)
    return nearest_found(kept, x, threat)
