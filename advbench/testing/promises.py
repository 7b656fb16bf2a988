"""What an attack promises about its results, held against problems whose best answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from advbench.core.sampling import on_sphere
from advbench.testing.oracles import LinearProblem
from advbench.testing.trial import Trial, distances, numbers, slack
from advbench.testing.witness import Decisions, Gradientless, Untouchable, curved_network
from advbench.types import ThreatModel

_ROUNDING = 1e-4  # what float32 images and a point on the boundary itself blur in a distance


def never_beats_the_optimum(trial: Trial) -> None:
    """No example is nearer than the closed form says that one can be."""
    for classes in (2, max(trial.classes, 2)):
        problem = trial.problem(classes)
        optimum = problem.distance(trial.norm)
        for threat in trial.threats(problem.median_radius(trial.norm)):
            x_adv = trial.run(problem, threat)
            found = distances(problem.x, x_adv, trial.norm)
            possible = ~_wrong(problem, x_adv) | (found >= optimum * (1.0 - _ROUNDING) - 1e-6)
            trial.claim("optimum", possible, f"examples at {numbers(found)}, the nearest are at {numbers(optimum)}")


def reaches_what_it_promises(trial: Trial) -> None:
    """With two classes, untargeted and targeted: success wherever eps is `ratio` times the closed-form distance.

    Without a radius: an example for every sample, at most `ratio` times as far as the nearest.
    """
    if trial.ratio is None:
        return
    problem = trial.problem(classes=2)
    optimum = problem.distance(trial.norm)
    allowed = trial.ratio * optimum * (1.0 + _ROUNDING) + 1e-6
    for targeted in (False, True) if trial.can_target else (False,):
        law = f"ratio {trial.ratio:g}{', targeted' if targeted else ''}"
        goal = replace(problem, y=1 - problem.y) if targeted else problem
        for threat in trial.threats(problem.median_radius(trial.norm)):
            x_adv = trial.run(goal, threat, targeted=targeted)
            if threat.eps is None:
                found = distances(problem.x, x_adv, trial.norm)
                holds = _wrong(problem, x_adv) & (found <= allowed)
                trial.claim(law, holds, f"found {numbers(found)}, the nearest are at {numbers(optimum)}")
            else:
                missed = ~_wrong(problem, x_adv) & (allowed <= threat.eps)
                trial.claim(law, ~missed, f"eps {threat.eps:.6g} fails at boundaries {numbers(optimum[missed])} away")


def reaches_its_target(trial: Trial) -> None:
    """With several classes and a large radius, samples that are pushed to a class arrive there."""
    if trial.ratio is None or not trial.can_target or trial.classes < 3:
        return
    problem = trial.problem()
    goal = replace(problem, y=(problem.y + 1) % trial.classes)
    for threat in trial.threats(trial.large_radius()):
        arrived = ~_wrong(goal, trial.run(goal, threat, targeted=True))
        trial.claim("target", arrived, f"{int(arrived.sum())} of {len(arrived)} samples arrived at their target")


def beats_random_noise(trial: Trial) -> None:
    """It fools as many samples as one random step of the same length, give or take two standard errors.

    Not asked of an attack that declares `structured`: a turned image may be far in a norm and harmless all the same;
    nor of one that keeps the label.
    """
    if trial.control or trial.info.structured or trial.info.keeps_label:
        return
    problem = trial.problem(classes=2, batch=64)
    for factor in (1.0, 4.0, 12.0):  # noise needs many times the nearest distance before it does much
        threat = ThreatModel(trial.norm, min(factor * problem.median_radius(trial.norm), trial.large_radius()))
        noise = (problem.x + on_sphere(problem.x, threat, problem.draws)).clamp(threat.low, threat.high)
        by_noise, by_attack = (int(_wrong(problem, z).sum()) for z in (noise, trial.run(problem, threat)))
        found = f"at eps {threat.eps:.6g} it fools {by_attack} of {len(noise)}, noise fools {by_noise}"
        trial.claim("random control", by_attack >= by_noise - 2.0 * math.sqrt(by_noise), found)


def keeps_what_is_wrong(trial: Trial) -> None:
    """A sample that is misclassified from the start is misclassified at x_adv."""
    if trial.control or trial.classes < 2:
        return
    problem = trial.problem()
    wrong = replace(problem, y=(problem.y + 1) % trial.classes)
    for threat in trial.threats(problem.median_radius(trial.norm)):
        kept = _wrong(wrong, trial.run(wrong, threat))
        trial.claim("already wrong", kept, f"{int((~kept).sum())} of {len(kept)} samples were put right")


def keeps_the_label_if_it_says_so(trial: Trial) -> None:
    """An attack that declares `keeps_label` leaves every prediction as it is, also where the network is curved."""
    if not trial.info.keeps_label:
        return
    problem = trial.problem()
    for model in (problem.model, curved_network(trial.shape, trial.classes)):
        before = model(problem.x).argmax(1)
        for threat in trial.threats(trial.large_radius()):
            kept = model(trial.run(problem, threat, model=model)).argmax(1) == before
            trial.claim("label kept", kept, f"{int((~kept).sum())} of {len(kept)} predictions changed")


def uses_only_its_access(trial: Trial) -> None:
    """No gradient unless declared; decisions only, or nothing at all of the victim, where that is declared."""
    problem = trial.problem()
    for threat in trial.threats(trial.large_radius()):
        for wall in _WALLS["control" if trial.control else trial.info.access]:
            expected = trial.run(problem, threat)
            try:
                found = trial.run(problem, threat, model=wall(problem.model), params_for=problem.model)
            except AssertionError as raised:
                trial.claim(f"access {trial.info.access!r}", False, str(raised))
                continue
            trial.claim(f"access {trial.info.access!r}", torch.equal(expected, found), "it uses more than decisions")


def _untouchable(model: nn.Module) -> nn.Module:
    return Untouchable()


# What stands between an attack and its victim, by declared access; a control may look at scores.
_WALLS: dict[str, tuple[Callable[[nn.Module], nn.Module], ...]] = {
    "gradient": (),
    "scores": (Gradientless,),
    "decision": (Gradientless, Decisions),
    "none": (_untouchable,),
    "control": (Gradientless,),
}


def _wrong(problem: LinearProblem, x_adv: Tensor) -> Tensor:
    logits: Tensor = problem.model(x_adv)
    return logits.argmax(1) != problem.y


def begins_where_it_is_told(trial: Trial) -> None:
    """An example that it is told to begin at comes back; a start outside of the ball is drawn into it."""
    if not trial.can_start:
        return
    problem, threat = trial.problem(), ThreatModel(trial.norm, trial.large_radius())
    x_start = trial.run(problem, threat)
    found = trial.run(problem, threat, x_start=x_start)
    kept = (found == x_start).flatten(1).all(1) | ~_wrong(problem, x_start)
    trial.claim("start", kept, f"examples came back {numbers(distances(x_start, found, trial.norm))} away")
    near = ThreatModel(trial.norm, problem.median_radius(trial.norm))
    length = distances(problem.x, trial.run(problem, near, x_start=x_start), trial.norm)
    allowed = (near.eps or 0.0) + slack(problem.x, near)
    trial.claim("start", length <= allowed, f"lengths {numbers(length)} at eps {near.eps} from a start outside")


PROMISES = (
    never_beats_the_optimum,
    reaches_what_it_promises,
    reaches_its_target,
    beats_random_noise,
    keeps_what_is_wrong,
    keeps_the_label_if_it_says_so,
    begins_where_it_is_told,
    uses_only_its_access,
)
