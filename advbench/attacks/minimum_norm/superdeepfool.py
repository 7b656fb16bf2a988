"""SuperDeepFool: DeepFool, then straight from x onto the boundary that it found. Abdollahpour et al. 2023."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.attacks.minimum_norm.first_look import first_look
from advbench.attacks.minimum_norm.linearise import margin_plane, nearest_plane
from advbench.attacks.minimum_norm.to_boundary import to_boundary
from advbench.core.draws import Draws
from advbench.core.gradients import evaluate, frozen
from advbench.core.hyperplanes import Hyperplane, shortest_move
from advbench.core.keep import keep_better, keep_nearest, near_enough, nearest_found
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(2,), access="gradient", paper="arXiv:2303.12481", minimum_norm=True, ratio=1.02, cost=(312, 1353))
def superdeepfool(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    rounds: int = 3,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 9,
    search_steps: int = 5,
) -> Tensor:
    """The nearest example found, moved back along the segment to x; x itself if there is none.

    A round is a run of `deepfool` (its `steps`, `overshoot` and `candidates`), then the step from x straight onto the
    boundary's tangent plane at the point found: in the paper SDF(inf, 1). A sample is done when that step ends beyond
    the boundary, or with its example in the ball; otherwise the next run starts there. rounds: at most so many; three
    cost less than the authors' rounds until all are done and come as near. search_steps: evaluations between x and the
    example at the end (the paper's line search). `draws` is not used.
    Raises ConfigError if rounds, steps or candidates < 1, or overshoot or search_steps is negative.
    """
    at_least_one("rounds", rounds)
    at_least_one("steps", steps)
    at_least_zero("overshoot", overshoot)
    at_least_one("candidates", candidates)
    at_least_zero("search_steps", search_steps)
    objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
    keep = keep_nearest(x, threat.norm)
    with frozen(model):
        logits, margin, kept = first_look(model, x, y, targeted=targeted)
        aim = margin_plane(objective)
        linearise = aim if targeted else nearest_plane(model, y, logits, threat.norm, candidates)
        rows, start = (~kept.reached).nonzero()[:, 0], x
        for _ in range(rounds):
            found = to_boundary(
                start, rows, threat, objective=objective, linearise=linearise, overshoot=overshoot, steps=steps
            )
            kept = keep_better(kept, found.z[rows], Evaluation(found.loss[rows], found.reached[rows]), rows, keep)
            rows = rows[found.reached[rows] & ~near_enough(kept, x, threat)[rows]]
            if not len(rows):
                break
            z = _straight(x[rows], found.z[rows], aim(found.z[rows], rows).normal).clamp(threat.low, threat.high)
            seen = evaluate(objective, z, rows)
            kept = keep_better(kept, z, seen, rows, keep)
            start = start.index_copy(0, rows, z)
            rows = rows[~seen.reached]
        kept = pull_back(objective, x, margin, kept, threat=threat, steps=search_steps)
    return nearest_found(kept, x, threat)


def _straight(x: Tensor, z: Tensor, normal: Tensor) -> Tensor:
    """The nearest point to x (A, ...) on the hyperplane through z (A, ...) with this normal (A, ...)."""
    through_z = Hyperplane(normal.new_zeros(len(normal)), normal)
    return x + shortest_move(through_z.moved(x - z), 2.0)
