"""DeepFool: to the nearest linearised boundary until the label changes. Moosavi-Dezfooli et al. 2016."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.attacks.minimum_norm.first_look import first_look
from advbench.attacks.minimum_norm.linearise import margin_plane, nearest_plane
from advbench.attacks.minimum_norm.slide import slide
from advbench.attacks.minimum_norm.to_boundary import to_boundary
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import keep_better, keep_nearest, nearest_found
from advbench.core.losses import margin_loss
from advbench.core.objectives import firmly, misclassify, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1511.04599", minimum_norm=True, ratio=1.02, cost=(109, 455))
def deepfool(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 9,
    slide_steps: int = 5,
    search_steps: int = 3,
) -> Tensor:
    """The first example on the way, drawn back towards x; x itself if there is none.

    Each step linearises the boundary to the `candidates` best classes at x besides y (towards a target: that of the
    best other class) and makes the shortest move onto the nearest; the box cuts it. The way so far is looked at 1 +
    overshoot times as long. Three additions to the paper: after ten steps the overshot point is the start of the next;
    where a curved boundary is first crossed is not its nearest point, so slide_steps passes slide the example along it
    (0, the paper's, leaves up to 8 % on a ball); and it is moved back along the segment to x by search_steps
    evaluations, which takes off the overshoot (0 turns that off). Defaults: the authors' code looks at ten classes in
    50 steps. `draws` is not used.
    Raises ConfigError if steps or candidates < 1, or overshoot, slide_steps or search_steps is negative.
    """
    at_least_one("steps", steps)
    at_least_zero("overshoot", overshoot)
    at_least_one("candidates", candidates)
    at_least_zero("slide_steps", slide_steps)
    at_least_zero("search_steps", search_steps)
    objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
    with frozen(model):
        logits, margin, kept = first_look(model, x, y, targeted=targeted)
        nearest = nearest_plane(model, y, logits, threat.norm, candidates)
        linearise = margin_plane(objective) if targeted else nearest
        rows = (~kept.reached).nonzero()[:, 0]
        found = to_boundary(x, rows, threat, objective=objective, linearise=linearise, overshoot=overshoot, steps=steps)
        seen = Evaluation(found.loss[rows], found.reached[rows])
        kept = keep_better(kept, found.z[rows], seen, rows, keep_nearest(x, threat.norm))
        fool = firmly(objective, slack_of(margin, logits))
        kept = slide(fool, x, threat, kept, steps=slide_steps)
        kept = pull_back(fool, x, margin, kept, threat=threat, steps=search_steps)
    return nearest_found(kept, x, threat)
