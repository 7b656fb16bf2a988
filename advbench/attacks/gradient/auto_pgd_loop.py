"""The loop of Auto-PGD: step sizes that look back at the loss. Croce and Hein 2020, arXiv:2003.01690, algorithm 1."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.core.devices import steps_between_checks, time_to_check
from advbench.core.draws import Counter, Draws
from advbench.core.keep import Kept, keep_better, keep_strongest, nothing_kept, when_reached
from advbench.core.mean_gradient import mean_backprop, mean_evaluate
from advbench.core.norms import lengths, per_sample
from advbench.core.objectives import Objective
from advbench.core.projections import within
from advbench.core.sampling import on_sphere
from advbench.core.step_rules import steepest
from advbench.types import Evaluation, ThreatModel


class Climb(NamedTuple):
    """Where the samples at work stand, one entry per row (A, ...). The loss is minimised, so the best is the lowest."""

    z: Tensor
    before: Tensor  # the iterate before z
    grad: Tensor
    loss: Tensor
    best: Tensor
    best_grad: Tensor
    best_loss: Tensor
    size: Tensor  # (A,) length of a step
    falls: Tensor  # (A,) steps since the last checkpoint that lowered the loss
    memory: tuple[Tensor, Tensor]  # what the rule remembers of its last checkpoint, each (A,)


class Rule(NamedTuple):
    """How steps are made in one norm. `done` counts the steps taken so far."""

    begin: Callable[[Tensor, Tensor], tuple[Tensor, tuple[Tensor, Tensor]]]  # (start, its loss) -> size, memory
    move: Callable[[Climb, Tensor, int], Tensor]  # (climb, rows, done) -> the next iterate
    look_back: Callable[[Climb, Tensor, int], Climb]  # (climb, rows, done) -> the climb, adapted at a checkpoint


def auto_pgd(
    x: Tensor,
    objective: Objective,
    threat: ThreatModel,
    *,
    draws: Draws,
    steps: int,
    rho: float,
    early_stop: bool,
    counter: Counter = 0,
    samples: int = 1,
    x_start: Tensor | None = None,
) -> Kept:
    """The strongest iterate of one run from random start number `counter` near x (B, ...), at most `steps` steps long.

    x_start (B, ...): the start instead of a random one, drawn into the (first) ball.
    samples: passes over which loss and gradient of a point are averaged.
    In l1, 30 % of the steps are spent in the ball of radius 3 eps and 30 % in that of 2 eps, each from the best point
    of the ball before; what is kept comes from the last ball only (arXiv:2103.01208, section 4.3).
    """
    rows = torch.arange(len(x), device=x.device)
    if threat.norm != 1:
        start = _on_border(x, threat, draws, counter) if x_start is None else within(threat, x)(x_start, rows)
        dense = _dense(x, threat, steps, rho)
        return _run(start, objective, dense, steps=steps, early_stop=early_stop, samples=samples)
    wide = 3 * steps // 10
    z = _noisy(x, threat, draws, counter) if x_start is None else x_start
    for factor in (3.0, 2.0):
        ball = threat.at(factor * threat.radius)
        z = within(ball, x)(z, rows)
        sparse = _sparse(x, ball, wide)
        z = _run(z, _blind(objective), sparse, steps=wide, early_stop=False, samples=samples).z
    last = steps - 2 * wide
    z, sparse = within(threat, x)(z, rows), _sparse(x, threat, last)
    return _run(z, objective, sparse, steps=last, early_stop=early_stop, samples=samples)


def checkpoints(steps: int) -> dict[int, int]:
    """Steps done at each checkpoint of a run -> steps since the one before (arXiv:2003.01690, section 3.2)."""
    length, least = max(22 * steps // 100, 1), max(6 * steps // 100, 1)
    windows, done = {}, length
    while done <= steps:
        windows[done] = length
        length = max(length - max(3 * steps // 100, 1), least)
        done += length
    return windows


def _run(z: Tensor, objective: Objective, rule: Rule, *, steps: int, early_stop: bool, samples: int) -> Kept:
    """Take `steps` steps from z (B, ...); with `early_stop`, samples leave once the goal is reached."""
    rows, kept = torch.arange(len(z), device=z.device), nothing_kept(z)
    late = when_reached if early_stop and steps_between_checks(z) > 1 else None
    evaluation, grad = mean_backprop(objective, z, rows, samples=samples)
    climb = _begin(z, evaluation, grad, rule)
    for done in range(steps + 1):
        kept = keep_better(kept, climb.z, evaluation, rows, keep_strongest, late=late)
        if early_stop and time_to_check(done, z) and not bool((left := ~kept.reached[rows]).all()):
            rows, climb = rows[left], _part(climb, left)
        if done == steps or not len(rows):
            return kept
        climb = rule.look_back(climb, rows, done)
        z = rule.move(climb, rows, done)
        if done + 1 < steps:
            evaluation, grad = mean_backprop(objective, z, rows, samples=samples)
        else:  # no step follows that would need a gradient
            evaluation, grad = mean_evaluate(objective, z, rows, samples=samples), climb.grad
        climb = _moved(climb, z, evaluation, grad)
    return kept


def _begin(z: Tensor, evaluation: Evaluation, grad: Tensor, rule: Rule) -> Climb:
    loss = _comparable(evaluation.loss, z)
    size, memory = rule.begin(z, loss)
    return Climb(z, z, grad, loss, z, grad, loss, size, torch.zeros_like(loss), memory)


def _moved(climb: Climb, z: Tensor, evaluation: Evaluation, grad: Tensor) -> Climb:
    loss = _comparable(evaluation.loss, z)
    better = loss < climb.best_loss
    return climb._replace(
        z=z,
        before=climb.z,
        grad=grad,
        loss=loss,
        best=_choose(better, z, climb.best),
        best_grad=_choose(better, grad, climb.best_grad),
        best_loss=torch.where(better, loss, climb.best_loss),
        falls=climb.falls + (loss < climb.loss),
    )


def _dense(x: Tensor, threat: ThreatModel, steps: int, rho: float) -> Rule:
    """linf and l2: a step along the gradient and one of momentum; its length is halved where the loss stalls."""
    project, direction = within(threat, x), steepest(threat.norm, 1.0).update
    windows = checkpoints(steps)

    def begin(z: Tensor, loss: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        # As if the step had just been halved: the second condition starts with the second checkpoint.
        return torch.full_like(loss, 2.0 * threat.radius), (torch.ones_like(loss, dtype=torch.bool), loss)

    def move(climb: Climb, rows: Tensor, done: int) -> Tensor:
        unit, _ = direction(climb.grad, (), 0.0)
        straight = project(climb.z + per_sample(climb.size, x) * unit, rows)
        new = 1.0 if done == 0 else 0.75  # arXiv:2003.01690, section 3.1
        return project(climb.z + new * (straight - climb.z) + (1.0 - new) * (climb.z - climb.before), rows)

    def look_back(climb: Climb, rows: Tensor, done: int) -> Climb:
        if done not in windows:
            return climb
        was_halved, best_then = climb.memory
        stalled = climb.falls <= rho * windows[done]
        halved = stalled | (~was_halved & (climb.best_loss >= best_then))
        return _restarted(climb, halved)._replace(
            size=torch.where(halved, 0.5 * climb.size, climb.size),
            falls=torch.zeros_like(climb.falls),
            memory=(halved, climb.best_loss),
        )

    return Rule(begin, move, look_back)


def _sparse(x: Tensor, threat: ThreatModel, steps: int) -> Rule:
    """l1: a step shared by few components, how few is read from the best point so far (arXiv:2103.01208, section 4).

    Unlike the paper, the step is not spent on components that the box holds back.
    """
    project, eps, window = within(threat, x), threat.radius, max(4 * steps // 100, 1)
    d = max(x[0].numel(), 1) if len(x) else 1

    def begin(z: Tensor, loss: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        support = lengths(z - x, 0.0)
        return torch.full_like(loss, eps), (support / 1.5, torch.full_like(support, d))

    def move(climb: Climb, rows: Tensor, done: int) -> Tensor:
        held = ((climb.z <= threat.low) & (climb.grad > 0)) | ((climb.z >= threat.high) & (climb.grad < 0))
        size = climb.grad.masked_fill(held, 0.0).flatten(1).abs()
        count = climb.memory[0].long().clamp(1, d)[:, None]
        least = size.sort(1, descending=True).values.gather(1, count - 1)
        chosen = (size >= least) & (size > 0)
        share = climb.size[:, None] / chosen.sum(1, keepdim=True).clamp_min(1)
        step = (chosen * share).reshape(climb.z.shape) * climb.grad.sign()
        return project(climb.z - step, rows)

    def look_back(climb: Climb, rows: Tensor, done: int) -> Climb:
        if done == 0 or done % window:
            return climb
        support = lengths(climb.best - x[rows], 0.0)
        sparser = support < 0.95 * climb.memory[1]
        size = torch.where(sparser, eps, climb.size / 1.5).clamp(0.1 * eps, eps)
        return _restarted(climb, sparser)._replace(size=size, memory=(support / 1.5, support))

    return Rule(begin, move, look_back)


def _restarted(climb: Climb, where: Tensor) -> Climb:
    """Back at the best point, with the gradient found there."""
    return climb._replace(z=_choose(where, climb.best, climb.z), grad=_choose(where, climb.best_grad, climb.grad))


def _noisy(x: Tensor, threat: ThreatModel, draws: Draws, counter: Counter) -> Tensor:
    """x (B, ...) plus Gaussian noise whose deviation is the width of the box."""
    return x + (threat.high - threat.low) * draws.normal(tuple(x.shape[1:]), "start", counter).to(x.dtype)


def _on_border(x: Tensor, threat: ThreatModel, draws: Draws, counter: Counter) -> Tensor:
    """A random start (B, ...): noise scaled to length eps, then into the box."""
    if threat.norm == inf:
        noise = 2.0 * draws.uniform(tuple(x.shape[1:]), "start", counter) - 1.0
        delta = noise * per_sample(threat.radius / lengths(noise, inf).clamp_min(torch.finfo(noise.dtype).tiny), noise)
        delta = delta.to(x.dtype)
    else:
        delta = on_sphere(x, threat, draws, counter)
    return within(threat, x)(x + delta, torch.arange(len(x), device=x.device))


def _blind(objective: Objective) -> Objective:
    """The same loss, but nothing is reached: outside of the ball an error does not count."""

    def seen(z: Tensor, rows: Tensor) -> Evaluation:
        evaluation = objective(z, rows)
        return Evaluation(evaluation.loss, torch.zeros_like(evaluation.reached))

    return seen


def _comparable(loss: Tensor, z: Tensor) -> Tensor:
    return loss.to(z.dtype).nan_to_num(nan=inf, posinf=inf, neginf=-inf)


def _choose(where: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(where.reshape(-1, *[1] * (new.dim() - 1)), new, old)


def _part(climb: Climb, at_work: Tensor) -> Climb:
    z, before, grad, loss, best, best_grad, best_loss, size, falls = (part[at_work] for part in climb[:-1])
    memory = (climb.memory[0][at_work], climb.memory[1][at_work])
    return Climb(z, before, grad, loss, best, best_grad, best_loss, size, falls, memory)
