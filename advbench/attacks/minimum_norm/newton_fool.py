"""NewtonFool: Newton steps that lower the label's probability. Jang, Wu and Jha 2017, doi:10.1145/3134600.3134635."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.minimum_norm.first_look import first_look
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, evaluate, frozen
from advbench.core.keep import Kept, keep_better, keep_latest, nearest_found
from advbench.core.log_odds import log_odds
from advbench.core.losses import margin_loss
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import Objective, misclassify, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

# Where a step aims, in parts of 1 / classes. With two classes 1 itself is the boundary, where the label may still win.
_AIM = 0.99
_PATIENCE = 0.1  # share of the steps after which they grow


@attack(
    norms=(2,),
    access="gradient",
    paper="doi:10.1145/3134600.3134635",
    minimum_norm=True,
    ratio=1.01,
    cost=(107, 100),
)
def newton_fool(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    steps: int = 100,
    eta: float = 0.01,
    last_eta: float = 100.0,
    search_steps: int = 5,
) -> Tensor:
    """The first example on the way, brought back along the segment to x; x itself if there is none.

    A step of Newton's method goes down the gradient of the label's probability p to where p, taken to be linear, would
    be 0.99 / classes, but no further than eta |x|_2 (|x| counts as 1 for a black image). eta as in the paper; 100 steps
    as in other libraries. Three additions to the paper: 0.99 instead of 1, which with two classes is the boundary
    itself; after a tenth of the steps they all grow, geometrically, as if eta rose to last_eta (equal to eta: the
    paper's), since on nets with masked gradients short steps go to and fro in a valley, while long ones end at the
    edges of the box; and search_steps evaluations between x and the example. y is always the class to leave. `draws`
    is not used.
    Raises ConfigError if steps < 1, eta is not positive, last_eta < eta or search_steps is negative.
    """
    at_least_one("steps", steps)
    if positive("last_eta", last_eta) < positive("eta", eta):
        raise ConfigError(f"last_eta must be at least eta = {eta}, got {last_eta}")
    at_least_zero("search_steps", search_steps)
    objective = misclassify(model, y, loss=log_odds)
    with frozen(model):
        logits, margin, kept = first_look(model, x, y, targeted=False)
        growths = [(last_eta / eta) ** max(0.0, (i / steps - _PATIENCE) / (1.0 - _PATIENCE)) for i in range(steps)]
        kept = _down(kept, x, threat, objective, eta=eta, growths=growths, floor=_AIM / logits.shape[1])
        # The record holds log odds, which have the sign of the margin: a start for the search.
        verge = misclassify(model, y, loss=margin_loss)
        slack = slack_of(margin, logits)
        kept = pull_back(verge, x, margin, kept, threat=threat, steps=search_steps, slack=slack)
    return nearest_found(kept, x, threat)


def _down(
    kept: Kept, x: Tensor, threat: ThreatModel, objective: Objective, *, eta: float, growths: list[float], floor: float
) -> Kept:
    """`kept` (B, ...) after a step for each of `growths`, by so many times its length; eta in lengths of x.

    A sample leaves with its first example.
    """
    rows, size = (~kept.reached).nonzero()[:, 0], _size(x)
    z = x[rows]
    for growth in growths:
        if not len(rows):
            return kept
        seen, grad = backprop(objective, z, rows)
        kept = keep_better(kept, z, seen, rows, keep_latest)
        if not bool((left := ~seen.reached).all()):
            rows, z, grad, seen = rows[left], z[left], grad[left], Evaluation(*(part[left] for part in seen))
        # p is the logistic function of the loss: its slope is p (1 - p) times that of the loss, whose direction does
        # not drown in rounding where p is nearly 1.
        p, slope = seen.loss.sigmoid(), lengths(grad, 2.0).clamp_min(torch.finfo(z.dtype).tiny)
        newton = (p - floor) / (p * (1.0 - p)).clamp_min(torch.finfo(z.dtype).tiny) / slope
        length = growth * torch.minimum(newton.clamp_min(0.0), eta * size[rows])
        unit = grad / torch.as_tensor(per_sample(slope, z))
        z = (z - unit * torch.as_tensor(per_sample(length, z))).clamp(threat.low, threat.high)
    return keep_better(kept, z, evaluate(objective, z, rows), rows, keep_latest) if len(rows) else kept


def _size(x: Tensor) -> Tensor:
    length = lengths(x, 2.0)
    return torch.where(length > 0, length, 1.0)
