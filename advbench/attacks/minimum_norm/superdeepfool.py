"""SuperDeepFool: DeepFool, then straight from x onto the boundary that it found. Abdollahpour et al. 2023."""

from __future__ import annotations

from functools import partial

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
from advbench.core.objectives import misclassify, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(2,), access="gradient", paper="arXiv:2303.12481", minimum_norm=True, ratio=1.02, cost=(8091, 36040))
def superdeepfool(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    rounds: int = 40,
    steps: int = 100,
    overshoot: float = 0.02,
    candidates: int = 9,
    search_steps: int = 5,
) -> Tensor:
    """The nearest example found, moved back along the segment to x; x itself if there is none.

    A round is a run of `deepfool` (its `steps`, `overshoot` and `candidates`), then the step that leads from x straight
    onto the boundary's tangent plane at the point found: in the paper SDF(inf, 1). There it starts at x; here at the
    point where the round began, as in adv_lib, which after two rounds goes along the mean of two normals: 4 and 1 %
    nearer on two nets for CIFAR-10, 2 % farther on one for MNIST (200 images each). A sample is done when that step
    ends beyond the boundary, or with its example in the ball; otherwise the next round begins there. rounds: at most so
    many, steps: of each `deepfool` at most. Three rounds of a few steps are enough unless gradients mislead: on such a
    net for MNIST the median is 3.09 after ten rounds of 50 steps, 2.74 after ten of 100, 2.31 after forty of 100
    (images 500 - 699); on three other nets nothing changes, nor does the cost. search_steps: evaluations between x and
    the example at the end (the paper's line search), for the end of the last step and for the nearest point of the
    runs. `draws` is not used.
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
        rows, start, ends = (~kept.reached).nonzero()[:, 0], x, kept
        for _ in range(rounds):
            found = to_boundary(
                start, rows, threat, objective=objective, linearise=linearise, overshoot=overshoot, steps=steps
            )
            kept = keep_better(kept, found.z[rows], Evaluation(found.loss[rows], found.reached[rows]), rows, keep)
            rows = rows[found.reached[rows] & ~near_enough(kept, x, threat)[rows]]
            if not len(rows):
                break
            straight = _straight(x[rows], found.z[rows], aim(found.z[rows], rows).normal)
            z = (start[rows] + straight).clamp(threat.low, threat.high)
            seen = evaluate(objective, z, rows)
            ends = keep_better(ends, z, seen, rows, keep)
            start = start.index_copy(0, rows, z)
            rows = rows[~seen.reached]
        back = partial(pull_back, threat=threat, steps=search_steps, slack=slack_of(margin, logits))
        kept, ends = back(objective, x, margin, kept), back(objective, x, margin, ends)
        rows = ends.reached.nonzero()[:, 0]
        kept = keep_better(kept, ends.z[rows], Evaluation(ends.loss[rows], ends.reached[rows]), rows, keep)
    return nearest_found(kept, x, threat)


def _straight(x: Tensor, z: Tensor, normal: Tensor) -> Tensor:
    """The way from x (A, ...) to the nearest point on the hyperplane through z (A, ...) with this normal (A, ...)."""
    through_z = Hyperplane(normal.new_zeros(len(normal)), normal)
    return shortest_move(through_z.moved(x - z), 2.0)
