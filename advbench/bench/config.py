"""A matrix read from YAML: checked whole before any work, every error one line that names file, line and key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

from torch import Tensor, nn

from advbench.bench.belonging import check_kind
from advbench.bench.data_entries import DATA_KEYS, read_data, read_images
from advbench.bench.entries import DefenseChoice, read_attacks, read_defenses, read_explain
from advbench.bench.excludes import Exclude, read_excludes
from advbench.bench.jobs import Choice, DataChoice, Threat
from advbench.bench.model_entries import ModelChoice, read_models, read_substitute
from advbench.bench.parameters import Special
from advbench.bench.sections import each, integer, read_norm, read_radius, read_sections, table, word
from advbench.bench.yaml_loader import Node, placing
from advbench.datasets.load import classes_of
from advbench.models.prepare import Precision
from advbench.registry import ATTACKS, CONTROLS
from advbench.types import Radius, ThreatModel, norm_name

__all__ = [
    "DATA_KEYS",
    "Choice",
    "DataChoice",
    "DefenseChoice",
    "Exclude",
    "Matrix",
    "ModelChoice",
    "Threat",
    "load_matrix",
]

THREAT_KEYS = ("norm", "eps")
Grid = Literal["every", "nested"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")  # the first of each is the default
PICTURES = ("visualize", "dream", "inversion")
GRIDS: tuple[Grid, ...] = ("every", "nested")
Word = TypeVar("Word", bound=str)


@dataclass(frozen=True)
class Matrix:
    """One benchmark: a question and the axes whose product answers it. Axes are expanded into single points."""

    path: Path
    question: str
    seed: int
    data: DataChoice
    models: tuple[ModelChoice, ...]
    defenses: tuple[DefenseChoice, ...]
    threats: tuple[Threat, ...]
    attacks: tuple[Choice, ...]
    controls: tuple[Choice, ...]
    explain: tuple[Choice, ...]
    exclude: tuple[Exclude, ...]
    precision: Precision = "float32"
    grid: Grid = "every"
    budget: int | None = None  # passes of a sample through the victim in one run of an attack
    allow_code: bool = False
    pictures: tuple[str, ...] = ()  # of PICTURES
    data_line: int = 1  # where `data` stands, for errors

    @property
    def name(self) -> str:
        """What the folder under results/ is called."""
        return self.path.stem


def load_matrix(path: Path | str, *, allow_code: bool = False) -> Matrix:
    """The matrix in the YAML file `path`. Nothing is trained, downloaded or run; files it names must exist.

    allow_code: accept models given as `python:module:function`.
    Raises ConfigError on the first thing that is wrong.
    """
    root, sections = read_sections(Path(path))
    data = read_data(sections["data"])
    threats = _threats(sections["threats"])
    specials: dict[object, Special] = {nn.Module: lambda node: read_substitute(node, allow_code), Tensor: read_images}
    classes = partial(classes_of, data.name, data.split, root=None if data.root is None else Path(data.root))
    attacks = read_attacks(sections.get("attacks"), ATTACKS, specials, classes)
    controls = read_attacks(sections.get("controls"), CONTROLS, specials, classes)
    models = read_models(sections["models"], allow_code)
    defenses = read_defenses(sections.get("defenses"), threats, root)
    return Matrix(
        path=Path(path),
        question=_question(sections["question"]),
        seed=integer(sections, "seed", default=0, lowest=0),
        data=data,
        models=models,
        defenses=defenses,
        threats=threats,
        attacks=attacks,
        controls=controls,
        explain=read_explain(sections.get("explain")),
        exclude=read_excludes(sections.get("exclude"), models, defenses, [*attacks, *controls], classes),
        precision=_one_of(sections.get("precision"), PRECISIONS),
        grid=_one_of(sections.get("grid"), GRIDS),
        budget=integer(sections, "budget", lowest=1) if "budget" in sections else None,
        allow_code=allow_code,
        pictures=tuple(_picture(node) for node in each(sections.get("pictures"))),
        data_line=sections["data"].line,
    )


def _question(node: Node) -> str:
    text = word(node).strip()
    if not text:
        raise node.error("is empty; say what this matrix answers")
    return text


def _one_of(node: Node | None, allowed: tuple[Word, ...]) -> Word:
    """What the node says, if it is allowed; the first word where there is no node."""
    for choice in allowed:
        if node is None or node.value == choice:
            return choice
    assert node is not None
    raise node.error(f"must be {' or '.join(allowed)}, got {node.kind}")


def _picture(node: Node) -> str:
    name = word(node)
    if name not in PICTURES:
        with placing(node):
            check_kind("synthesis", name)
        raise node.error(f"must be of {', '.join(PICTURES)}, got {name!r}")
    return name


def _threats(node: Node) -> tuple[Threat, ...]:
    """The threats at `node`. Two of one norm, both with or both without radii, are refused: a cell covers a grid."""
    threats: list[Threat] = []
    for item in each(node):
        threat = _threat(item)
        if any(other.norm == threat.norm and (other.eps is None) == (threat.eps is None) for other in threats):
            raise item.error(f"repeats the norm {norm_name(threat.norm)}; write one threat with all its eps")
        threats.append(threat)
    return tuple(threats)


def _threat(node: Node) -> Threat:
    fields = table(node, THREAT_KEYS, ("norm",))
    norm = read_norm(fields["norm"])
    if "eps" not in fields:
        return Threat(norm, None, node.line)
    radii = [(_radius_in(item, norm), item) for item in each(fields["eps"])]
    radii.sort(key=lambda pair: pair[0].exact)
    for (lower, _), (upper, item) in pairwise(radii):
        if lower.exact == upper.exact:
            raise item.error(f"= {upper} stands twice in the grid")
    return Threat(norm, tuple(radius for radius, _ in radii), node.line)


def _radius_in(node: Node, norm: float) -> Radius:
    radius = read_radius(node)
    with placing(node):
        ThreatModel(norm, float(radius))
    return radius
