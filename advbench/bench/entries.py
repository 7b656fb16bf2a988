"""Attacks, controls and defenses of a matrix: names from the registry, parameters checked, axes expanded."""

from __future__ import annotations

import collections.abc
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from advbench.bench.asked_scores import class_number
from advbench.bench.belonging import check_kind, entry_of
from advbench.bench.goals import GOALS
from advbench.bench.jobs import Choice, Threat
from advbench.bench.labels import with_settings
from advbench.bench.parameters import Special, as_json, expand_parameters
from advbench.bench.sections import each, read_norm, read_radius, unknown
from advbench.bench.yaml_loader import Node, placing
from advbench.defenses.settings import Training
from advbench.names import nearest
from advbench.registry import ATTACKS, ATTRIBUTIONS, DEFENSES, AttackInfo, Registry
from advbench.types import ConfigError, Json, Radius, ThreatModel, norm_name, norm_of

TRAINING = inspect.signature(Training, eval_str=True).parameters


@dataclass(frozen=True)
class DefenseChoice:
    """One point of a defense entry. norm, eps: what a training defense trains against, or None; training: how."""

    name: str
    params: Mapping[str, Json]
    line: int
    stage: Literal["none", "training", "inference"]
    norm: float | None
    eps: Radius | None
    training: Training

    def facts(self) -> dict[str, Json]:
        """Everything that may tell two defenses of one name apart."""
        radius: dict[str, Json] = {} if self.eps is None else {"norm": str(self.norm), "eps": str(self.eps)}
        return {**self.params, **radius, **asdict(self.training)}


def named(item: Node) -> tuple[str, Mapping[str, Node], Node]:
    """The name, the parameters and the node for errors of an entry: `pgd` or `{pgd: {steps: 10}}`."""
    if isinstance(item.value, str):
        return item.value, {}, replace(item, path=f"{item.path}.{item.value}")
    if not isinstance(item.value, Mapping) or len(item.value) != 1:
        raise item.error(f"must be a name or a table with one name, such as {{name: {{key: value}}}}, got {item.kind}")
    ((name, owner),) = item.value.items()
    if owner.value is None:
        return name, {}, owner
    if not isinstance(owner.value, Mapping):
        raise owner.error(f"must be a table of parameters, got {owner.kind}")
    return name, owner.value, owner


def no_such(item: Node, kind: str, name: str, names: Sequence[str]) -> ConfigError:
    """`FILE:LINE: PLACE: no KIND named 'NAME'; did you mean ...?`, where words beside the registry's are allowed."""
    near = nearest(name, list(names)) or f"allowed: {', '.join(names)}"
    return ConfigError(f"{item.file}:{item.line}: {item.path}: no {kind} named {name!r}; {near.strip()}")


Names = Callable[[], Sequence[str]]  # of the classes; asked for only where one is named


def read_attacks(
    node: Node | None, registry: Registry[AttackInfo], specials: Mapping[object, Special], classes: Names
) -> tuple[Choice, ...]:
    """Every point of the entries at `node`, in order. specials: readers of parameters that are models or images."""
    every = {**specials, collections.abc.Callable: _callables}
    return tuple(choice for item in each(node) for choice in _attack(item, registry, every, classes))


def _attack(
    item: Node, registry: Registry[AttackInfo], specials: Mapping[object, Special], classes: Names | None
) -> list[Choice]:
    """classes: None for an attack inside another one, which has the outer one's goal."""
    name, fields, owner = named(item)
    with placing(replace(item, line=owner.line)):
        parameters = entry_of(registry, name).parameters()
    aims = classes is not None and "goal" not in parameters
    allowed = [*parameters, "goal"] if aims else list(parameters)
    for key, value in fields.items():
        if key not in allowed:
            raise unknown(value, owner, "parameter", key, allowed)
    goals = ["untargeted"]
    if classes is not None and aims and "goal" in fields:
        goals = [read_goal(value, classes) for value in each(fields["goal"])]
    own = {key: value for key, value in fields.items() if key in parameters}
    points = expand_parameters(own, parameters, owner, specials)
    return [Choice(name, point, item.line, goal) for goal in goals for point in points]


def read_goal(node: Node, classes: Names) -> str:
    """One of GOALS, or the number of the class that stands at `node` as a number or a name."""
    if isinstance(node.value, str) and node.value in GOALS:
        return node.value
    if isinstance(node.value, int) and not isinstance(node.value, bool) and node.value >= 0:
        return str(node.value)
    if not isinstance(node.value, str):
        raise node.error(f"must be {', '.join(GOALS)} or a class, got {node.kind}")
    try:
        return str(class_number(node.value, classes(), also=GOALS))
    except ConfigError as error:
        raise node.error(f"must be {', '.join(GOALS)} or a class: {error}") from None


def read_explain(node: Node | None) -> tuple[Choice, ...]:
    """Every point of the attributions at `node`, in order and once, with the parameters that are not the defaults."""
    found = [choice for item in each(node) for choice in _attribution(item)]
    return tuple({with_settings(choice.name, choice.params): choice for choice in found}.values())


def _attribution(item: Node) -> list[Choice]:
    name, fields, owner = named(item)
    with placing(replace(item, line=owner.line)):
        parameters = entry_of(ATTRIBUTIONS, name).parameters()
    for key, value in fields.items():
        if key not in parameters:
            raise unknown(value, owner, "parameter", key, list(parameters))
    given = {key: parameters[key] for key in parameters if key in fields}
    points = expand_parameters(fields, given, owner, {})
    changed = [{k: v for k, v in point.items() if v != as_json(parameters[k].default)} for point in points]
    return [Choice(name, params, item.line) for params in changed]


def _callables(item: Node) -> list[Json]:
    """An attack as a parameter of another one: {name, params}, resolved when the cell runs."""
    return [
        {"name": choice.name, "params": choice.params}
        for choice in _attack(item, ATTACKS, {collections.abc.Callable: _callables}, None)
    ]


def read_defenses(node: Node | None, threats: Sequence[Threat], root: Node) -> tuple[DefenseChoice, ...]:
    """Every point of the defense entries; undefended alone if there are none.

    A training defense without eps trains against the largest radius of the first threat (of its norm) that has one.
    """
    if node is None:
        return (DefenseChoice("none", {}, root.line, "none", None, None, Training()),)
    return tuple(choice for item in each(node) for choice in _defense(item, threats))


def _defense(item: Node, threats: Sequence[Threat]) -> list[DefenseChoice]:
    name, fields, owner = named(item)
    stage, own = _defense_parameters(name, replace(item, line=owner.line))
    radius = RADIUS if stage == "training" and DEFENSES[name].info.radius else {}
    parameters = {**TRAINING, **radius, **own}
    choices = []
    for point in expand_parameters(fields, parameters, owner, {Radius: _radii, Threat: _norms}):
        norm, eps = _trained_against(point, threats, owner) if radius else (None, None)
        with placing(owner):
            training = Training(**{key: point[key] for key in TRAINING if key not in own})  # type: ignore[arg-type]
        params = {key: point[key] for key in own}
        choices.append(DefenseChoice(name, params, item.line, stage, norm, eps, training))
    return choices


def _defense_parameters(
    name: str, item: Node
) -> tuple[Literal["none", "training", "inference"], Mapping[str, inspect.Parameter]]:
    if name == "none":
        return "none", {}
    if name not in DEFENSES:
        with placing(item):
            check_kind("defense", name)
        raise no_such(item, "defense", name, ["none", *DEFENSES.names()])
    entry = DEFENSES[name]
    return entry.info.stage, entry.parameters()


# Beside a training defense's own parameters: the threat it is trained against. The annotations only pick the reader.
RADIUS = {
    "norm": inspect.Parameter("norm", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Threat),
    "eps": inspect.Parameter("eps", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Radius),
}


def _radii(node: Node) -> list[Json]:
    return [str(read_radius(node))]


def _norms(node: Node) -> list[Json]:
    return [norm_name(read_norm(node))]


def _trained_against(point: Mapping[str, Json], threats: Sequence[Threat], owner: Node) -> tuple[float, Radius]:
    given = {key: str(point[key]) for key in RADIUS if point.get(key) is not None}
    norms = [norm_of(given["norm"])] if "norm" in given else [threat.norm for threat in threats if threat.eps]
    radii = [threat.eps[-1] for threat in threats if threat.eps and threat.norm in norms[:1]]
    eps = Radius(given["eps"]) if "eps" in given else next(iter(radii), None)
    if eps is None:
        raise owner.error("needs eps: no threat of this norm has a radius to train against")
    norm = norms[0] if norms else float("inf")
    with placing(owner):
        ThreatModel(norm, float(eps))
    return norm, eps
