"""SparseFool: few components onto the boundary that DeepFool found. Modas, Moosavi-Dezfooli, Frossard 2019."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.minimum_norm.first_look import first_look
from advbench.attacks.minimum_norm.linearise import margin_plane, nearest_plane
from advbench.attacks.minimum_norm.slide import slide
from advbench.attacks.minimum_norm.to_boundary import to_boundary
from advbench.core.draws import Draws
from advbench.core.gradients import evaluate, frozen
from advbench.core.hyperplanes import Hyperplane, onto_hyperplane
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough, nearest_found
from advbench.core.losses import margin_loss
from advbench.core.norms import per_sample
from advbench.core.objectives import Objective, firmly, misclassify, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(0, 1), access="gradient", paper="arXiv:1811.02248", minimum_norm=True, ratio=1.05, cost=(2081, 9040))
def sparse_fool(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    control: float = 3.0,
    steps: int = 20,
    deepfool_steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 9,
    slide_steps: int = 10,
    search_steps: int = 10,
) -> Tensor:
    """The first example on the way, made smaller; x itself if there is none.

    A step runs `deepfool` in l2 (deepfool_steps, overshoot and candidates are its own), takes the boundary there as a
    hyperplane, moves it `control` times as far away and goes to its nearest point in the box: in l1 the components of
    largest slope to their ends, one after the other; in l0 those that contribute most. What is looked at is the way so
    far, 1 + overshoot times as long. Defaults: the paper's 3 and the authors' code. Three additions to the paper: that
    choice in l0; search_steps evaluations that put the components back that contribute least; and in l1 slide_steps
    passes each that slide the example before and after that along the boundary, the nearer of which goes back along the
    segment to x by search_steps more (together four fifths off the length on a plain MNIST net). `draws` is not used.
    Raises ConfigError if control is not positive, a slide or search is negative, or another number below 1.
    """
    for name, count in (("steps", steps), ("deepfool_steps", deepfool_steps), ("candidates", candidates)):
        at_least_one(name, count)
    for name, value in (("overshoot", overshoot), ("slide_steps", slide_steps), ("search_steps", search_steps)):
        at_least_zero(name, value)
    positive("control", control)
    objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
    with frozen(model):
        logits, margin, kept = first_look(model, x, y, targeted=targeted)
        aim, dense = margin_plane(objective), ThreatModel(2.0, None, threat.low, threat.high)
        linearise = aim if targeted else nearest_plane(model, y, logits, dense.norm, candidates)
        rows, z, normals = (~kept.reached).nonzero()[:, 0], x, torch.zeros_like(x)
        for _ in range(steps):
            there = to_boundary(
                z, rows, dense, objective=objective, linearise=linearise, overshoot=overshoot, steps=deepfool_steps
            )
            rows = rows[there.reached[rows]]
            if not len(rows):
                break
            normal = aim(there.z[rows], rows).normal
            normals = normals.index_copy(0, rows, normal)
            onto = _beyond(z[rows], there.z[rows], normal, control)
            here = onto_hyperplane(z[rows], onto, threat.norm, threat.low, threat.high)
            z = z.index_copy(0, rows, here)
            ahead = (x[rows] + (1.0 + overshoot) * (here - x[rows])).clamp(threat.low, threat.high)
            seen = evaluate(objective, ahead, rows)
            kept = keep_better(kept, ahead, seen, rows, keep_nearest(x, threat.norm))
            rows = rows[~seen.reached]
        few = _put_back(objective, x, kept, normals, threat=threat, steps=search_steps)
        if threat.norm == 1:
            fool = firmly(objective, slack_of(margin, logits))
            few = _slid((kept, few), fool, x, threat, steps=slide_steps)
            few = pull_back(fool, x, margin, few, threat=threat, steps=search_steps)
    return nearest_found(few, x, threat)


def _slid(records: tuple[Kept, Kept], fool: Objective, x: Tensor, threat: ThreatModel, *, steps: int) -> Kept:
    """The nearer examples after `steps` steps along the boundary from those of each record (B, ...).

    Either may end at a component that is not the best: the first where many shared the way, the second, in which few
    are left, where these are far out.
    """
    kept, few = (slide(fool, x, threat, record, steps=steps) for record in records)
    seen, rows = Evaluation(few.loss, few.reached), torch.arange(len(x), device=x.device)
    return keep_better(kept, few.z, seen, rows, keep_nearest(x, threat.norm))


def _beyond(z: Tensor, boundary: Tensor, normal: Tensor, control: float) -> Hyperplane:
    """The hyperplane of this normal through z + control (boundary - z), all (A, ...), seen from z."""
    at_boundary = Hyperplane(normal.new_zeros(len(normal)), normal)
    return Hyperplane(control * at_boundary.moved(z - boundary).value, normal)


def _put_back(objective: Objective, x: Tensor, kept: Kept, normals: Tensor, *, threat: ThreatModel, steps: int) -> Kept:
    """The record (B, ...) with as few changed components as a bisection over their number finds sufficient.

    Those with the largest change times slope are kept.
    """
    rows = (kept.reached & ~near_enough(kept, x, threat)).nonzero()[:, 0]
    centre, example = x[rows], kept.z[rows]
    worth = ((example - centre) * normals[rows]).flatten(1).abs().masked_fill((example == centre).flatten(1), -1.0)
    rank = worth.argsort(dim=1, descending=True, stable=True).argsort(1).reshape(x[rows].shape)
    few = torch.zeros(len(rows), dtype=torch.int64, device=x.device)
    enough = (example != centre).flatten(1).sum(1)
    keep = keep_nearest(x, threat.norm)
    for _ in range(steps if len(rows) else 0):
        middle = (few + enough) // 2
        fewer = torch.where(rank < torch.as_tensor(per_sample(middle, rank)), example, centre)
        seen = evaluate(objective, fewer, rows)
        kept = keep_better(kept, fewer, seen, rows, keep)
        few, enough = torch.where(seen.reached, few, middle), torch.where(seen.reached, middle, enough)
    return kept
