"""Values that a method refuses, found before work: attacks and maps are asked of no images, a training step of two."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from advbench.attributions.explain import explain
from advbench.bench.evaluate import check_assault
from advbench.bench.jobs import Choice, Job, SubstituteRecipe, members_of
from advbench.bench.parameters import arguments, inner_attacks
from advbench.bench.recipes import untrained
from advbench.bench.scene import Assault, Execution, run_attack, set_scene
from advbench.core.draws import Draws
from advbench.defenses.substitute import check_settings
from advbench.registry import ATTACKS, ATTRIBUTIONS, CONTROLS, DEFENSES
from advbench.types import ConfigError, Json, ThreatModel, canonical_json

_IMAGES = 2  # a training's batch, and what an attack on all images at once learns from
_ONE_PASS = Execution("cpu", micro_batch=1)


def rehearse_attacks(jobs: Iterable[Job], file: Path) -> None:
    """Raise ConfigError, with the line in `file`, if an attack of `jobs` refuses its parameters.

    A small network stands in for the model. What it refuses is tried on untrained ones of each job's own kind, as the
    attack may name a module of them. Other exceptions are left to the cell: they need not come from the values. So are
    attacks of third parties, which may do anything when they are called.
    """
    accepted: dict[str, bool] = {}  # by the small network: then no other is asked
    seen: set[str] = set()
    for job in jobs:
        if not _is_ours(job.kind, job.attack.name, job.attack.params):
            continue
        place = f"{file}:{job.attack.line}: {job.attack.name}"
        mark = canonical_json(
            [job.kind, job.attack.name, job.attack.params, job.goal, str(job.threat.norm), job.budget]
        )
        if mark not in accepted:
            _refuse(partial(_check_substitutes, job), place)
            accepted[mark] = _accepts(job)
        own = canonical_json([mark, _networks(job)])
        if not accepted[mark] and own not in seen:
            seen.add(own)
            _refuse(partial(_rehearse, job), place)


def _networks(job: Job) -> Json:
    """What decides of which modules the networks of the job are made."""
    recipe, substitute = job.recipe, None if job.substitute is None else job.substitute.key
    wrapper: list[Json] = [recipe.defense, recipe.defense_params] if recipe.stage == "inference" else []
    return [recipe.content, list(recipe.shape), recipe.classes, wrapper, substitute]


def rehearse_explanations(jobs: Sequence[Job], file: Path) -> None:
    """Raise ConfigError, with the line in `file`, if an attribution refuses its parameters whatever the model.

    What the small network refuses is tried on untrained ones like those of the jobs: a layer may be one of theirs.
    """
    for choice in jobs[0].explain if jobs else ():
        if choice.params and ATTRIBUTIONS[choice.name].function.__module__.startswith("advbench."):
            _refuse(partial(_explain_nothing, choice, jobs), f"{file}:{choice.line}: {choice.name}")


def _explain_nothing(choice: Choice, jobs: Sequence[Job]) -> None:
    """Ask for the map of no images. Raises the last model's refusal if all refuse."""
    shape, classes = jobs[0].recipe.shape, jobs[0].recipe.classes
    x, y = torch.zeros(0, *shape), torch.zeros(0, dtype=torch.int64)
    params = arguments(ATTRIBUTIONS[choice.name], choice.params)
    refusal = ConfigError()
    for model in chain([_small(shape, classes)], map(untrained, {job.recipe.key: job.recipe for job in jobs}.values())):
        try:
            explain(choice.name, model, x, y, seed=0, sample_ids=None, **params)
            return
        except ConfigError as error:
            refusal = error
    raise refusal


def _is_ours(kind: str, name: str, params: Mapping[str, Json]) -> bool:
    entries = [(CONTROLS if kind == "control" else ATTACKS)[name], *inner_attacks(params)]
    return all(entry.function.__module__.startswith("advbench.") for entry in entries)


def rehearse_training(
    defense: str, params: Mapping[str, Json], threat: ThreatModel, shape: tuple[int, int, int], *, place: str
) -> None:
    """Raise ConfigError if the training defense refuses its parameters. place: where they stand, for the message."""
    x, y = torch.zeros(_IMAGES, *shape), torch.zeros(_IMAGES, dtype=torch.int64)
    loss = DEFENSES[defense].function
    draws = Draws(0, torch.arange(_IMAGES))
    _refuse(lambda: loss(_small(shape, 2), x, y, threat, draws=draws, **params), f"{place}: {defense}")


def _refuse(act: Callable[[], object], place: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about results, and these are thrown away
            act()
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    except Exception:
        return


def _check_substitutes(job: Job) -> None:
    for recipe in members_of(job.substitute):
        if isinstance(recipe, SubstituteRecipe):
            check_settings(recipe.params)


def _accepts(job: Job) -> bool:
    """Does the job's attack work on the small network, as far as its values are concerned?"""
    small = _small(job.recipe.shape, job.recipe.classes)
    try:
        _refuse(lambda: _attack(job, small, None if job.substitute is None else small), "")
    except ConfigError:
        return False
    return True


def _rehearse(job: Job) -> None:
    """On networks of the job's own kind."""
    _attack(job, untrained(job.recipe), None if job.substitute is None else untrained(job.substitute))


def _attack(job: Job, model: nn.Module, substitute: nn.Module | None) -> None:
    """The job's attack on no images of `model`."""
    shape = job.recipe.shape
    entry = (CONTROLS if job.kind == "control" else ATTACKS)[job.attack.name]
    params = arguments(entry, job.attack.params, substitute)
    if params.get("images") is not None:
        params["images"] = torch.zeros(_IMAGES, *shape)
    assault = Assault(entry, params, job.goal, job.cell.seed, budget=job.budget)
    radius = None if job.threat.eps is None else float(job.threat.eps[-1])
    check_assault(assault, ThreatModel(job.threat.norm, radius), job.threat.eps)
    x, y = torch.zeros(0, *shape), torch.zeros(0, dtype=torch.int64)
    scene = set_scene(model, x, y, None, assault=assault, execution=_ONE_PASS)
    run_attack(scene, y, ThreatModel(job.threat.norm, radius), "float32")


def _small(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network of few weights for any image size, with a convolution and a kink.

    Its modules have names that no other network's have: one that an attack names is never meant.
    """
    with torch.random.fork_rng(devices=[]):
        layers = (nn.Conv2d(shape[0], 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    return nn.Sequential(OrderedDict((f"rehearsed {i}", layer) for i, layer in enumerate(layers))).eval()
