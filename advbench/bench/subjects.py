"""The models of a matrix and the substitutes beside them, as recipes. Nothing is computed here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, cast

from advbench.bench.config import DefenseChoice, Matrix, ModelChoice
from advbench.bench.jobs import EnsembleRecipe, Recipe, SubstituteRecipe
from advbench.bench.labels import distinguish
from advbench.bench.rehearsal import rehearse_training
from advbench.bench.setting import Setting
from advbench.defenses.settings import Training
from advbench.defenses.train import UNPERTURBED
from advbench.models.fits import check_fits
from advbench.registry import DEFENSES
from advbench.types import ConfigError, Json, ThreatModel, canonical_json, content_key


@dataclass(frozen=True)
class Subject:
    """One model under one defense: its recipe, or why it cannot be. model, defense: the names shown."""

    model: ModelChoice
    defense: DefenseChoice
    labels: Mapping[str, str]
    recipe: Recipe | None
    reason: str = ""


def subjects(setting: Setting) -> list[Subject]:
    """Every model under every defense, in the order of the file."""
    matrix = setting.matrix
    models = distinguish([model.label for model in matrix.models], [model.facts() for model in matrix.models])
    names = distinguish([choice.name for choice in matrix.defenses], [choice.facts() for choice in matrix.defenses])
    return [
        _subject(setting, model, defense, {"model": model_label, "defense": defense_label})
        for model, model_label in zip(matrix.models, models, strict=True)
        for defense, defense_label in zip(matrix.defenses, names, strict=True)
    ]


def _subject(setting: Setting, model: ModelChoice, defense: DefenseChoice, labels: Mapping[str, str]) -> Subject:
    if model.fixed and defense.stage == "training":
        reason = f"{labels['model']} comes with fixed weights; {defense.name} would have to train them"
        return Subject(model, defense, labels, None, reason)
    shown = labels["model"] if defense.stage == "none" else f"{labels['model']} {labels['defense']}"
    return Subject(model, defense, labels, _recipe(setting, model, defense, shown))


def _recipe(setting: Setting, model: ModelChoice, defense: DefenseChoice, label: str) -> Recipe:
    if not model.fixed and setting.train is None:
        raise ConfigError(
            f"{setting.matrix.path}:{model.line}: {model.label} must be trained, but {setting.matrix.data.name} has no "
            "training part; give data.train, or weights for the model"
        )
    _check_fit(setting, model)
    threat = None
    if defense.stage == "training" and defense.norm is not None and defense.eps is not None:
        threat = ThreatModel(defense.norm, float(defense.eps))
    if defense.stage == "training":
        place = f"{setting.matrix.path}:{defense.line}"
        rehearse_training(defense.name, defense.params, threat or UNPERTURBED, setting.shape, place=place)
    return Recipe(
        spec=model.spec,
        params=model.params,
        content=model.content,
        weights=model.weights,
        fixed=model.fixed,
        shape=setting.shape,
        classes=setting.classes,
        defense=defense.name,
        defense_params=defense.params,
        stage=defense.stage,
        threat=threat,
        training=None if model.fixed else defense.training,
        data=setting.train,
        data_content=setting.train_content,
        root=setting.matrix.data.root,
        size=setting.matrix.data.size,
        seed=setting.matrix.seed,
        label=label,
        allow_code=setting.matrix.allow_code,
        defense_code="" if defense.stage == "none" else DEFENSES[defense.name].code,
    )


def _check_fit(setting: Setting, model: ModelChoice) -> None:
    try:
        _check_once(
            _Fit(model.spec, canonical_json(model.params), model.weights, content_key(model.content)),
            setting.shape,
            setting.classes,
        )
    except ConfigError as error:
        raise ConfigError(f"{setting.matrix.path}:{model.line}: {model.label}: {error}") from None


class _Fit(NamedTuple):
    """What decides whether a model fits its data. params: as JSON; content: a hash, so that a changed file counts."""

    spec: str
    params: str
    weights: str | None
    content: str


@cache
def _check_once(model: _Fit, shape: tuple[int, int, int], classes: int) -> None:
    """A model stands in a matrix many times: under each defense, and as a substitute."""
    check_fits(model.spec, shape=shape, classes=classes, params=json.loads(model.params), weights=model.weights)


def substitute_for(setting: Setting, victim: Recipe, choice: Json) -> Recipe | SubstituteRecipe | EnsembleRecipe | str:
    """The substitute that `choice` (see `model_entries.read_substitute`) names for `victim`, or why there is none."""
    match choice:
        case {"ensemble": list() | tuple() as choices}:
            return _ensemble([_one(setting, victim, each) for each in choices])
        case _:
            return _one(setting, victim, choice)


def _one(setting: Setting, victim: Recipe, choice: Json) -> Recipe | SubstituteRecipe | str:
    ((kind, details),) = cast("Mapping[str, Mapping[str, Json]]", choice).items()
    return _SUBSTITUTES[kind](setting, victim, details)


def _ensemble(found: Sequence[Recipe | SubstituteRecipe | str]) -> EnsembleRecipe | str:
    reasons = [each for each in found if isinstance(each, str)]
    return reasons[0] if reasons else EnsembleRecipe(tuple(each for each in found if not isinstance(each, str)))


def _named(setting: Setting, victim: Recipe, details: Mapping[str, Json]) -> Recipe:
    model = ModelChoice.from_json(details)
    return _recipe(setting, model, _undefended(setting.matrix), model.label)


def _twin(setting: Setting, victim: Recipe, details: Mapping[str, Json]) -> Recipe | str:
    if victim.fixed:
        return f"a twin is trained like its victim, but {victim.label} comes with fixed weights; name a model instead"
    seed = victim.seed + int(cast(int, details["seed"]))
    if details["defense"] == "same" and victim.stage == "training":
        return replace(victim, seed=seed, label=f"twin of {victim.label}")
    training = _undefended(setting.matrix).training if victim.stage == "training" else victim.training
    return replace(victim.plain(), seed=seed, training=training, label=f"undefended twin of {victim.label}")


def _labels(setting: Setting, victim: Recipe, details: Mapping[str, Json]) -> SubstituteRecipe:
    params = {name: value for name, value in details.items() if name != "student"}
    student = _named(setting, victim, cast("Mapping[str, Json]", details["student"]))
    return SubstituteRecipe(student, victim, params, setting.matrix.seed)


_SUBSTITUTES = {"model": _named, "twin": _twin, "labels": _labels}


def _undefended(matrix: Matrix) -> DefenseChoice:
    """How models are trained without a defense: as under the first `none` of the matrix, or by the defaults."""
    plain = DefenseChoice("none", {}, 0, "none", None, None, Training())
    return next((choice for choice in matrix.defenses if choice.stage == "none"), plain)
