"""One run for each likely wrong class: what multi-targeted attacks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advbench.core.gradients import attending, logits_at
from advbench.core.keep import Kept, best_of_copies, keep_better, keep_strongest, nothing_kept
from advbench.core.losses import Loss, runners_up
from advbench.core.objectives import Objective
from advbench.core.restarts import in_turns
from advbench.types import Evaluation

# (positions (A,) of the samples that take part, several times each if several classes are gone for at once; objective;
# the number (A,) of the run, for its draws) -> their record (A, ...)
RunTowards = Callable[[Tensor, Objective, Tensor], Kept]


def towards_runners_up(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    run: RunTowards,
    *,
    loss: Callable[[Tensor], Loss],
    count: int,
    restarts: int,
    early_stop: bool,
    abreast: int = 1,
) -> Kept:
    """The record (B, ...) after `restarts` runs towards each of the `count` best other classes at x (B, ...).

    loss: target (A,) -> what rises towards it. A sample is done as soon as it is anything but y (B,), and leaves
    then, before the next run at the latest; with early_stop False it takes part in all runs. abreast: classes that are
    gone for at once, each on a copy of the sample; copies of one sample do not hear of one another's success.
    """
    rows, kept = torch.arange(len(x), device=x.device), nothing_kept(x)
    logits = logits_at(model, x, rows)
    if early_stop:  # what is wrong already needs no attack
        wrong = Evaluation(torch.full_like(logits[:, 0], torch.inf), logits.argmax(1) != y)
        kept = keep_better(kept, x, wrong, rows, keep_strongest)
    targets = runners_up(logits, y, count)  # (B, M)

    groups = torch.split(targets, abreast, 1) if targets.shape[1] else ()

    def turn_of(left: Tensor, turn: int) -> Kept:
        which, attempt = divmod(turn, restarts)
        target = groups[which][left]  # (A, W)
        width = target.shape[1]
        rank = which * abreast + torch.arange(width, device=x.device).repeat(len(left))
        copies = left.repeat_interleave(width)
        with attending(torch.arange(len(left), device=x.device).repeat_interleave(width)):
            goal = leave_towards(model, y[copies], target.flatten(), loss)
            return best_of_copies(run(copies, goal, rank * restarts + attempt), width)[0]

    return in_turns(kept, restarts * len(groups), turn_of, survivors_only=early_stop)


def leave_towards(model: nn.Module, y: Tensor, target: Tensor, loss: Callable[[Tensor], Loss]) -> Objective:
    """Raise the loss towards target (B,). reached: the prediction is anything but y (B,)."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, labels = model(z), y[rows]
        return Evaluation(-loss(target[rows])(logits, labels), logits.argmax(1) != labels)

    return objective
