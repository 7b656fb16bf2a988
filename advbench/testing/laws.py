"""The laws that an attack keeps on any model: where x_adv may lie, what may be touched, what it may depend on."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import UnionType
from typing import Union, get_args, get_origin

import torch
from torch import Tensor, nn

from advbench.testing.trial import Attack, Params, Trial, distances, numbers, part, slack
from advbench.testing.witness import Dead, NotANumber, Quitter, QuitterError, state_of, untidy_network
from advbench.types import ConfigError, ThreatModel


def stays_in_ball_and_box(trial: Trial) -> None:
    """x_adv is finite, like x in shape, dtype and device, free of graphs, in the ball and in the box."""
    problem = trial.problem()
    for threat in (*trial.threats(problem.median_radius(trial.norm)), *trial.threats(trial.large_radius())):
        for x in (problem.x, (10.0 * problem.x - 4.5).clamp(0.0, 1.0)):  # the second touches the box
            _check_place(trial, x, trial.run(trial.with_images(problem, x), threat), threat)


def leaves_its_arguments_alone(trial: Trial) -> None:
    """x and y are not written to and want no gradient afterwards."""
    problem = trial.problem()
    x, y = problem.x.clone(), problem.y.clone()
    for threat in trial.threats(trial.large_radius()):
        trial.run(problem, threat)
        same = torch.equal(problem.x, x) and torch.equal(problem.y, y)
        trial.claim("arguments", same, "x or y was written to")
        trial.claim("arguments", not problem.x.requires_grad and problem.x.grad is None, "x was left with a gradient")


def does_nothing_at_radius_zero(trial: Trial) -> None:
    """With eps = 0, x_adv is x."""
    problem = trial.problem()
    x_adv = trial.run(problem, ThreatModel(trial.norm, 0.0))
    moved = numbers(distances(problem.x, x_adv, trial.norm))
    trial.claim("eps = 0", torch.equal(x_adv, problem.x), f"x moved by {moved}")


def repeats_itself(trial: Trial) -> None:
    """The same call gives the same bits."""
    problem = trial.problem()
    for threat in trial.threats(trial.large_radius()):
        first, second = trial.run(problem, threat), trial.run(problem, threat)
        apart = numbers(distances(first, second, math.inf))
        trial.claim("determinism", torch.equal(first, second), f"two equal calls are apart by {apart}")


def does_not_look_at_the_batch(trial: Trial) -> None:
    """A sample's x_adv is the same alone, in the batch and in another order.

    Not asked of an attack that declares `together`: one perturbation for all samples is learned from all of them.
    """
    if trial.info.together:
        return
    problem = trial.problem()
    backwards = torch.arange(len(problem.x)).flip(0)
    for threat in trial.threats(problem.median_radius(trial.norm)):
        together = trial.run(problem, threat)
        reordered = trial.run(part(problem, backwards), threat).flip(0)
        alone = torch.cat([trial.run(part(problem, i[None]), threat) for i in backwards.flip(0)])
        for law, other in (("order independence", reordered), ("batch independence", alone)):
            apart = (together - other).abs().flatten(1).amax(1)
            trial.claim(law, apart <= 1e-5, f"the same samples are apart by {numbers(apart)}")


def leaves_the_model_alone(trial: Trial) -> None:
    """Modes, parameters, gradients, buffers, hooks and global state are as before, also if the model raises."""
    problem = trial.problem()
    for model in (untidy_network(trial.shape, trial.classes), Quitter(untidy_network(trial.shape, trial.classes))):
        for threat in trial.threats(trial.large_radius()):
            before = state_of(model)
            with suppress(QuitterError):
                trial.run(problem, threat, model=model)
            after = state_of(model)
            changed = [name for name, value in before.items() if value != after.get(name)]
            changed += sorted(after.keys() - before.keys())
            trial.claim("model left as it came", not changed, f"changed: {', '.join(changed)}")


def survives_bad_gradients(trial: Trial) -> None:
    """Where the gradient is zero or not a number, x_adv is still a point of the ball."""
    problem = trial.problem()
    for model in (Dead(trial.classes), NotANumber(problem.model)):
        for threat in trial.threats(problem.median_radius(trial.norm)):
            _check_place(trial, problem.x, trial.run(problem, threat, model=model), threat)


def keeps_the_dtype(trial: Trial) -> None:
    """Images in float64 are attacked in float64."""
    problem = trial.problem()
    images = trial.with_images(problem, problem.x.double())
    for threat in trial.threats(problem.median_radius(trial.norm)):
        _check_place(trial, images.x, trial.run(images, threat), threat)


def copes_with_small_cases(trial: Trial) -> None:
    """No sample, one sample, one class, two classes: x_adv has the right shape and place."""
    for classes, batch in ((trial.classes, 0), (trial.classes, 1), (1, 2), (2, 2)):
        problem = trial.problem(classes, batch)
        for threat in trial.threats(problem.median_radius(trial.norm) if batch else 0.1):
            _check_place(trial, problem.x, trial.run(problem, threat), threat)


def _check_place(trial: Trial, x: Tensor, x_adv: Tensor, threat: ThreatModel) -> None:
    like = x_adv.shape == x.shape and x_adv.dtype == x.dtype and x_adv.device == x.device
    trial.claim("shape, dtype, device", like, f"x is {_kind(x)}, x_adv is {_kind(x_adv)}")
    trial.claim("no graph", not x_adv.requires_grad, "x_adv requires a gradient")
    trial.claim("finite", torch.isfinite(x_adv), "x_adv has components that are no numbers")
    inside = (x_adv >= threat.low) & (x_adv <= threat.high)
    trial.claim("box", inside, f"values {numbers(x_adv[~inside])} outside of [{threat.low:g}, {threat.high:g}]")
    if threat.eps is not None:
        distance = distances(x, x_adv, threat.norm)
        limit = threat.eps + slack(x, threat)
        trial.claim("ball", distance <= limit, f"distances {numbers(distance)} with eps {threat.eps:.6g}")


def _kind(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype} on {x.device}"


def refuses_numbers_that_cannot_be(trial: Trial) -> None:
    """A fraction that is not a number, or a negative count (unless the default is one), is a ConfigError.

    Asked without images: a matrix is refused that way before anything is computed.
    """
    none = part(trial.problem(), torch.arange(0))
    for threat in trial.threats(trial.large_radius()):
        for name, value in _impossible(trial.attack):
            spoilt = replace(trial, params=partial(_with, trial.params, name, value))
            try:
                spoilt.run(none, threat)
            except ConfigError:
                continue
            trial.claim("impossible numbers", False, f"{name}={value} was accepted")


def _with(params: Params, name: str, value: float, model: nn.Module) -> Mapping[str, object]:
    return {**params(model), name: value}


def _impossible(attack: Attack) -> Iterator[tuple[str, float]]:
    for name, parameter in inspect.signature(attack, eval_str=True).parameters.items():
        annotation, default = parameter.annotation, parameter.default
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        if parameter.kind is parameter.KEYWORD_ONLY and float in kinds:
            yield name, math.nan
        elif (
            parameter.kind is parameter.KEYWORD_ONLY and int in kinds and not (isinstance(default, int) and default < 0)
        ):
            yield name, -1


LAWS = (
    stays_in_ball_and_box,
    leaves_its_arguments_alone,
    does_nothing_at_radius_zero,
    repeats_itself,
    does_not_look_at_the_batch,
    leaves_the_model_alone,
    survives_bad_gradients,
    keeps_the_dtype,
    copes_with_small_cases,
    refuses_numbers_that_cannot_be,
)
