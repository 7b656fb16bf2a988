"""Cells that the author of a matrix leaves out, each rule with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from advbench.bench.entries import DefenseChoice, Names, read_goal
from advbench.bench.goals import GOALS
from advbench.bench.jobs import Choice
from advbench.bench.model_entries import ModelChoice
from advbench.bench.parameters import read_value
from advbench.bench.sections import each, read_norm, unknown, word
from advbench.bench.yaml_loader import Node
from advbench.names import nearest
from advbench.registry import ATTACKS, CONTROLS
from advbench.types import ConfigError, Json, norm_name

NAMES = ("attack", "model", "defense", "goal", "norm")


@dataclass(frozen=True)
class Exclude:
    """A rule: a cell goes if each name and each attack parameter given here has one of the values given.

    names: values of attack, model, defense, goal, norm ("linf"). place: `FILE:LINE: exclude[0]`, for errors.
    """

    names: Mapping[str, tuple[str, ...]]
    params: Mapping[str, tuple[Json, ...]]
    because: str
    place: str

    def matches(self, names: Mapping[str, str], params: Mapping[str, Json]) -> bool:
        """Is the cell with these names and attack parameters left out?"""
        by_name = all(names[key] in values for key, values in self.names.items())
        return by_name and all(key in params and params[key] in values for key, values in self.params.items())


def read_excludes(
    node: Node | None,
    models: Sequence[ModelChoice],
    defenses: Sequence[DefenseChoice],
    methods: Sequence[Choice],
    classes: Names,
) -> tuple[Exclude, ...]:
    """The rules at `node`. Raises ConfigError on names and parameters that nothing in the matrix has.

    methods: its attacks and controls.
    """
    present = {
        "attack": {choice.name for choice in methods},
        "model": {choice.label for choice in models},
        "defense": {choice.name for choice in defenses},
        "goal": {choice.goal for choice in methods} | set(GOALS),
    }
    return tuple(_exclude(item, present, methods, classes) for item in each(node))


def _exclude(item: Node, present: Mapping[str, set[str]], methods: Sequence[Choice], classes: Names) -> Exclude:
    if not isinstance(item.value, Mapping):
        raise item.error(f"must be a table such as {{attack: pgd, because: too slow}}, got {item.kind}")
    fields = dict(item.value)
    because = fields.pop("because", None)
    names = {key: _names(fields.pop(key), present.get(key, set()), classes) for key in NAMES if key in fields}
    candidates = [choice for choice in methods if choice.name in names.get("attack", (choice.name,))]
    params = {key: _values(key, value, item, candidates) for key, value in fields.items()}
    if because is None:
        raise item.error("needs the key 'because'")
    if not names and not params:
        raise item.error("names nothing to leave out")
    return Exclude(names, params, word(because), f"{item.file}:{item.line}: {item.path}")


def _names(node: Node, present: set[str], classes: Names) -> tuple[str, ...]:
    if node.path.endswith(".norm"):
        return tuple(norm_name(read_norm(value)) for value in each(node))
    found = []
    for value in each(node):
        name = read_goal(value, classes) if node.path.endswith(".goal") else value.text
        if name not in present:
            near = nearest(name, sorted(present)) or f"it has: {', '.join(sorted(present))}"
            raise value.error(f"= {value.text!r} is not in this matrix; {near.strip()}")
        found.append(name)
    return tuple(found)


def _values(key: str, node: Node, owner: Node, candidates: Sequence[Choice]) -> tuple[Json, ...]:
    """The values of an attack parameter, checked by the first attack of the matrix that has it."""
    for choice in candidates:
        if key in choice.params:
            registry = ATTACKS if choice.name in ATTACKS else CONTROLS
            annotation = registry[choice.name].parameters()[key].annotation
            return tuple(read_value(value, annotation) for value in each(node))
    known = sorted({name for choice in candidates for name in choice.params})
    raise unknown(node, owner, "key", key, [*NAMES, "because", *known])


def refuse_idle(rules: Sequence[Exclude], cells: Sequence[tuple[Mapping[str, str], Mapping[str, Json]]]) -> None:
    """Raise ConfigError on a rule that matches none of `cells`: it says something else than its author means.

    cells: names and parameters of every combination of the matrix. Also of those that are skipped for another reason: a
    rule for them is needless, but it leaves out what it says.
    """
    for rule in rules:
        if not any(rule.matches(names, params) for names, params in cells):
            raise ConfigError(f"{rule.place} matches no cell")
