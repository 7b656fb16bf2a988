"""Models of a matrix: an architecture with its parameters, a spec, or weights from a file; and substitutes."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

from advbench.bench.belonging import entry_of
from advbench.bench.code_keys import own_code
from advbench.bench.entries import named, no_such
from advbench.bench.parameters import content_of, expand_parameters, resolve_path
from advbench.bench.sections import each, unknown, word
from advbench.bench.yaml_loader import Node, placing
from advbench.defenses.substitute import substitute as from_labels
from advbench.models.load import comes_trained, load_model
from advbench.models.sequential import names_weights, read_entry
from advbench.models.spec import Spec, parse_spec
from advbench.models.weights import weights_hash
from advbench.registry import MODELS
from advbench.types import Json, content_key

TWIN = {
    "defense": inspect.Parameter(
        "defense", inspect.Parameter.KEYWORD_ONLY, default="same", annotation=Literal["same", "none"]
    ),
    "seed": inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=1, annotation=int),
}
LABELS = {
    name: parameter
    for name, parameter in inspect.signature(from_labels, eval_str=True).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("seed", "device", "progress")
}
WEIGHT_FILES = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True)
class ModelChoice:
    """One point of a model entry. spec, params, weights (a file): what `load_model` takes.

    content: the same without paths, for keys. fixed: it brings its weights. label: the name shown.
    """

    spec: str
    params: Mapping[str, Json]
    weights: str | None
    content: Mapping[str, Json]
    fixed: bool
    label: str
    line: int

    def facts(self) -> dict[str, Json]:
        """Everything that may tell two models of one name apart."""
        return {**self.params, "weights": self.weights and {"file": self.weights}}

    def as_json(self) -> dict[str, Json]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Json]) -> ModelChoice:
        """The inverse of `as_json`."""
        return ModelChoice(**cast("dict[str, object]", dict(value)))  # type: ignore[arg-type]


def read_models(node: Node, allow_code: bool) -> tuple[ModelChoice, ...]:
    """Every point of the entries at `node`, in order."""
    return tuple(choice for item in each(node) for choice in _model(item, allow_code))


def _model(item: Node, allow_code: bool) -> list[ModelChoice]:
    text, fields, owner = named(item)
    with placing(replace(item, line=owner.line)):
        spec = parse_spec(text)
        parameters = entry_of(MODELS, spec.name).parameters()
    if spec.name == "python" and not allow_code:
        raise item.error("runs code of yours; if you trust it, allow that with --allow-code")
    own = {**_parts(spec, parameters, owner), **{key: value for key, value in fields.items() if key != "weights"}}
    weights = each(fields.get("weights")) or (_part(owner, "weights", spec.weights),)
    choices = []
    for source in weights:
        file = resolve_path(source, source.text) if word(source).endswith(WEIGHT_FILES) else None
        if file is None and source.value and "weights" not in parameters:
            raise source.error(f"must be a file ending in {', '.join(WEIGHT_FILES)}, got {source.kind}")
        given = own | ({"weights": source} if file is None and source.value else {})
        for point in expand_parameters(given, parameters, owner, {}):
            choices.append(_choice(spec.name, point, file, item, owner))
    return choices


def _parts(spec: Spec, parameters: Mapping[str, inspect.Parameter], owner: Node) -> dict[str, Node]:
    """The parts of a spec as parameters: the required one stands behind the colon, `entry` behind the hash."""
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    found = {}
    if spec.argument:
        if not required:
            raise owner.error("takes nothing behind the colon; write parameters as {name: {key: value}}")
        found[required[0]] = _part(owner, required[0], spec.argument)
    if spec.entry:
        found["entry"] = _part(owner, "entry", spec.entry)
        if "entry" not in parameters:
            raise owner.error(f"has no entries, so no #{spec.entry}")
    return found


def _part(owner: Node, name: str, text: str) -> Node:
    return replace(owner, value=text, text=text, path=f"{owner.path}.{name}")


def _choice(name: str, point: Mapping[str, Json], file: Path | None, item: Node, owner: Node) -> ModelChoice:
    params = {key: value["path"] if isinstance(value, Mapping) else value for key, value in point.items()}
    weights = None if file is None else str(file)
    with placing(owner):
        fixed = comes_trained(name, weights=weights, params=params)
        content, label = _CONTENTS.get(name, _architecture)(name, point)
    content |= own_code(MODELS[name])
    if weights is not None:
        content["weights"] = content_of(Path(weights))
    elif name == "python" and fixed:
        content["weights"] = _returned(str(point["name"]))
    return ModelChoice(name, params, weights, content, fixed, label, item.line)


def _architecture(name: str, point: Mapping[str, Json]) -> tuple[dict[str, Json], str]:
    """What the parameters decide, and the name shown."""
    params = {key: {"sha256": value["sha256"]} if isinstance(value, Mapping) else value for key, value in point.items()}
    return {"name": name, "params": params}, str(point.get("name") or name)


def _listed(name: str, point: Mapping[str, Json]) -> tuple[dict[str, Json], str]:
    """A network from a list of layers: the layers themselves, so that its neighbours in the file do not matter."""
    file = cast("Mapping[str, str]", point["file"])["path"]
    entry = read_entry(Path(file), str(point.get("entry") or ""))
    content: dict[str, Json] = {"name": name, "layers": content_key(entry["layers"])}
    if names_weights(entry) and point.get("weights") != "none":
        content["weights"] = content_of(Path(file).parent / str(entry["file"]))
    return content, str(entry.get("name") or Path(file).stem)


def _coded(name: str, point: Mapping[str, Json]) -> tuple[dict[str, Json], str]:
    """A function of the user's: its name and the file or package it is in."""
    top = str(point["name"]).split(":", maxsplit=1)[0].split(".", maxsplit=1)[0]
    found = importlib.util.find_spec(top)
    origin = Path(found.origin) if found and found.origin else Path()
    beside = (Path(top), Path(f"{top}.py"), origin.parent if origin.name == "__init__.py" else origin)
    source = next((path for path in beside if path.name and path.exists()), None)
    sha256 = _code_in(source) if source else None
    return {"name": name, "function": point["name"], "sha256": sha256}, str(point["name"])


def _code_in(source: Path) -> str:
    """SHA-256 of a file, or of a package's Python files; not of what they are compiled to, which lies beside them."""
    if source.is_file():
        return content_of(source)
    files = sorted(source.rglob("*.py"))
    return content_key([[file.relative_to(source).as_posix(), content_of(file)] for file in files])


def _returned(name: str) -> str | None:
    """The hash of the weights that a function of the user's comes with, which may have changed while its file did not.

    None if it fails: its cells will say why.
    """
    try:
        return weights_hash(load_model(f"python:{name}", allow_code=True))
    except Exception:
        return None


_CONTENTS: Mapping[str, Callable[[str, Mapping[str, Json]], tuple[dict[str, Json], str]]] = {
    "sequential": _listed,
    "python": _coded,
}


def read_substitute(node: Node, allow_code: bool) -> list[Json]:
    """The points of a `substitute`: what `_substitute` reads, or {ensemble: [...]} of several of these, together.

    The members of an ensemble are attacked as the mean of their logits. Where a member has axes, each point of theirs
    makes an ensemble.
    """
    if not (isinstance(node.value, Mapping) and list(node.value) == ["ensemble"]):
        return _substitute(node, allow_code)
    members = node.value["ensemble"]
    if not isinstance(members.value, tuple) or len(members.value) < 2:
        raise members.error(f"must be a list of two models or more, got {members.kind}")
    points = [_substitute(member, allow_code) for member in members.value]
    return [{"ensemble": list(point)} for point in itertools.product(*points)]


def _substitute(node: Node, allow_code: bool) -> list[Json]:
    """The points of one substitute: a model, `twin`, or {labels: {model: ..., ...}}, as {kind: details}.

    twin: the victim's architecture, trained with another seed (seed: how far from the victim's), as the victim was
    (defense: same) or without a defense (none). labels: trained on labels that the victim answers.
    """
    name, fields, owner = named(node)
    if name == "twin":
        return [{"twin": point} for point in expand_parameters(fields, TWIN, owner, {})]
    if ":" not in name and name not in ("labels", *MODELS.names()):
        raise no_such(
            replace(node, line=owner.line), "substitute", name, ["twin", "labels", "ensemble", *MODELS.names()]
        )
    if name != "labels":
        return [{"model": choice.as_json()} for choice in _model(node, allow_code)]
    for key in fields:
        if key not in LABELS and key != "model":
            raise unknown(fields[key], owner, "parameter", key, ["model", *LABELS])
    if "model" not in fields:
        raise owner.error("needs the parameter 'model': the architecture that learns from the labels")
    own = {key: value for key, value in fields.items() if key != "model"}
    students = read_models(fields["model"], allow_code)
    points = expand_parameters(own, LABELS, owner, {})
    return [{"labels": {"student": student.as_json(), **point}} for student in students for point in points]
