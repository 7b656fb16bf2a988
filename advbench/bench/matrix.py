"""From a matrix to its jobs: the product of its axes, what does not apply set aside with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from advbench.bench.code_keys import attack_code, in_key
from advbench.bench.config import Choice, Matrix, Threat
from advbench.bench.cost import passes
from advbench.bench.excludes import refuse_idle
from advbench.bench.jobs import EnsembleRecipe, Job, Plan, Recipe, Skip, SubstituteRecipe, threat_json
from advbench.bench.labels import distinguish, slug_of
from advbench.bench.parameters import inner_attacks
from advbench.bench.rehearsal import rehearse_attacks, rehearse_explanations
from advbench.bench.setting import Setting, read_setting
from advbench.bench.subjects import Subject, subjects, substitute_for
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.types import Cell, Json, norm_name

__all__ = ["Job", "Plan", "Recipe", "Skip", "SubstituteRecipe", "expand"]


@dataclass(frozen=True)
class Method:
    """An attack or control of the matrix with the name it is shown by."""

    kind: Literal["attack", "control"]
    choice: Choice
    label: str
    entry: Entry[AttackInfo]


def expand(matrix: Matrix) -> Plan:
    """Every cell of `matrix`, the cheap ones of a model first, and every combination that does not apply.

    Reads the labels of the data to choose the samples; of the models, only shapes are asked. Raises ConfigError on a
    matrix that its data cannot serve, a model that does not fit the data, an exclude rule that matches nothing, and
    values that an attack or a training refuses.
    """
    setting = read_setting(matrix)
    methods, tested = _methods(matrix), subjects(setting)
    pairs, skips = _applicable(methods, matrix.threats)
    jobs: dict[str, Job] = {}
    for subject in tested:
        if subject.recipe is None:
            skips.append(Skip(subject.labels, subject.reason))
        found = [_job(setting, subject, method, threat) for method, threat in pairs]
        skips.extend(skip for skip in found if isinstance(skip, Skip) and subject.recipe is not None)
        for job in sorted((job for job in found if isinstance(job, Job)), key=passes):
            if job.cell.key in jobs:
                twin = " / ".join(jobs[job.cell.key].labels.values())
                skips.append(Skip(job.labels, f"the same cell as {twin}"))
            jobs.setdefault(job.cell.key, job)
    everything = [(subject, method, threat) for subject in tested for method in methods for threat in matrix.threats]
    refuse_idle(matrix.exclude, [(_names(*cell), cell[1].choice.params) for cell in everything])
    rehearse_attacks(jobs.values(), matrix.path)
    rehearse_explanations(list(jobs.values()), matrix.path)
    return Plan(matrix, tuple(jobs.values()), tuple(skips), setting.sample_ids)


def _methods(matrix: Matrix) -> list[Method]:
    choices = [*matrix.attacks, *matrix.controls]
    labels = distinguish([choice.name for choice in choices], [choice.params for choice in choices])
    attacks = len(matrix.attacks)
    return [
        Method("attack", choice, label, ATTACKS[choice.name])
        if index < attacks
        else Method("control", choice, label, CONTROLS[choice.name])
        for index, (choice, label) in enumerate(zip(choices, labels, strict=True))
    ]


def _applicable(methods: Sequence[Method], threats: Sequence[Threat]) -> tuple[list[tuple[Method, Threat]], list[Skip]]:
    """The methods and threats that go together whatever the model, and skips for those that do not."""
    pairs, skips = [], []
    for method in methods:
        for threat in threats:
            reason = next(_reasons(method, threat), None)
            if reason is None:
                pairs.append((method, threat))
            else:
                skips.append(Skip(_method_labels(method, threat), reason))
    return pairs, skips


def _reasons(method: Method, threat: Threat) -> Iterator[str]:
    """Why `method` does not apply to `threat`; nothing if it does."""
    for entry in (method.entry, *inner_attacks(method.choice.params)):
        if threat.norm not in entry.info.norms:
            yield f"{entry.name} does not work in {norm_name(threat.norm)}, only in " + ", ".join(
                map(norm_name, entry.info.norms)
            )
        if threat.eps is None and entry.info.needs_radius:
            yield f"{entry.name} needs a radius, and this threat has none"
        if method.choice.goal != "untargeted" and not entry.takes("targeted"):
            yield f"{entry.name} cannot be targeted"


def _method_labels(method: Method, threat: Threat) -> dict[str, str]:
    return {"attack": method.label, "goal": method.choice.goal, "norm": norm_name(threat.norm)}


def _names(subject: Subject, method: Method, threat: Threat) -> dict[str, str]:
    """What the rules of `exclude` may ask of a cell beside its parameters."""
    labels = {**subject.labels, **_method_labels(method, threat)}
    return {**labels, "attack": method.choice.name, "model": subject.model.label, "defense": subject.defense.name}


def _job(setting: Setting, subject: Subject, method: Method, threat: Threat) -> Job | Skip:
    """The cell of this combination, or why it is left out."""
    choice, labels = method.choice, {**subject.labels, **_method_labels(method, threat)}
    names = _names(subject, method, threat)
    rules = [rule for rule in setting.matrix.exclude if rule.matches(names, choice.params)]
    if rules:
        return Skip(labels, f"excluded: {rules[0].because}")
    if subject.recipe is None:
        return Skip(labels, subject.reason)
    substitute: Recipe | SubstituteRecipe | EnsembleRecipe | None = None
    if choice.params.get("substitute") is not None:
        found = substitute_for(setting, subject.recipe, choice.params["substitute"])
        if isinstance(found, str):
            return Skip(labels, found)
        substitute = found
    return Job(
        cell=_cell(setting, subject.recipe, method, threat, substitute),
        slug=slug_of(labels, nearest=threat.eps is None),
        recipe=subject.recipe,
        attack=choice,
        kind=method.kind,
        goal=choice.goal,
        threat=threat,
        substitute=substitute,
        explain=setting.matrix.explain,
        labels=labels,
        data=setting.matrix.data,
        precision=setting.matrix.precision,
        grid=setting.matrix.grid,
        budget=setting.matrix.budget,
        count=len(setting.sample_ids),
    )


def _cell(
    setting: Setting,
    recipe: Recipe,
    method: Method,
    threat: Threat,
    substitute: Recipe | SubstituteRecipe | EnsembleRecipe | None,
) -> Cell:
    params = in_key(method.choice.params, threat.norm)
    if substitute is not None:
        params["substitute"] = {"key": substitute.key, **substitute.identity()}
    attack: dict[str, Json] = {"kind": method.kind, "name": method.choice.name, "params": params}
    attack |= attack_code(method.entry, threat.norm)
    if setting.matrix.precision != "float32":  # lower precision changes rows; the default stays unsaid
        attack["precision"] = setting.matrix.precision
    if setting.matrix.grid == "nested" and method.entry.info.nested:
        attack["grid"] = "nested"
    if setting.matrix.budget is not None:
        attack["budget"] = setting.matrix.budget
    defense: dict[str, Json] = {"name": recipe.defense, "params": recipe.defense_params}
    if recipe.defense_code:
        defense["code"] = recipe.defense_code
    if recipe.threat is not None:
        defense["threat"] = threat_json(recipe.threat)
    return Cell(
        dataset=setting.dataset,
        model={**recipe.content, "weights": recipe.content.get("weights", recipe.key)},
        defense=defense,
        attack=attack,
        goal=method.choice.goal,
        norm=threat.norm,
        eps=threat.eps,
        seed=setting.matrix.seed,
    )
