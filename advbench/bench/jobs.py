"""What a matrix unfolds into: recipes for models, jobs to run, skips with their reasons. Data only, JSON-able."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from advbench.types import Cell, Json, Radius, ThreatModel, content_key

if TYPE_CHECKING:
    from advbench.bench.config import Matrix
    from advbench.defenses.settings import Training


@dataclass(frozen=True)
class Choice:
    """One point of an entry of a matrix: a registered name, every parameter resolved, the line it stands on.

    Of an attribution, only the parameters that are not its defaults.
    """

    name: str
    params: Mapping[str, Json]
    line: int
    goal: str = "untargeted"  # of an attack or control


@dataclass(frozen=True)
class DataChoice:
    """Which samples: `count` of `split` of a dataset spec; `train` is the spec to train on (its split "train")."""

    name: str
    split: str = "test"
    count: int | None = None
    choose: Literal["stratified", "first", "all"] = "stratified"
    train: str | None = None
    root: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Threat:
    """A norm and its grid of radii in increasing order; eps None asks for the nearest example instead."""

    norm: float
    eps: tuple[Radius, ...] | None
    line: int = 0


@dataclass(frozen=True)
class Recipe:
    """How to get a model: its architecture, and its weights or the training that makes them.

    spec, params, weights (a file): for `load_model`. content: what they stand for, with hashes in place of paths.
    fixed: the spec or the file brings weights, so nothing is trained. defense: a training defense, an inference
    defense (put around the model, which is trained plainly if not fixed) or "none". threat: what a training defense
    trains against. data: the dataset spec to train on. training: None if fixed. defense_code: what a defense of a third
    party is known by beside its name, "" for ours.
    """

    spec: str
    params: Mapping[str, Json]
    content: Mapping[str, Json]
    weights: str | None
    fixed: bool
    shape: tuple[int, int, int]
    classes: int
    defense: str
    defense_params: Mapping[str, Json]
    stage: Literal["none", "training", "inference"]
    threat: ThreatModel | None
    training: Training | None
    data: str | None
    data_content: Mapping[str, Json]
    root: str | None
    size: int | None
    seed: int
    label: str
    allow_code: bool = False
    defense_code: str = ""

    @property
    def key(self) -> str:
        """SHA-256 of what decides the weights: `results/models/<key>` holds them if they are trained here."""
        return content_key(self.identity())

    def identity(self) -> dict[str, Json]:
        """The key's pre-image. An inference defense changes no weights and stays out, so do paths."""
        who: dict[str, Json] = {
            "schema": 1,
            "model": self.content,
            "shape": list(self.shape),
            "classes": self.classes,
        }
        if self.training is None:
            return who
        trained = self.stage == "training"
        code: dict[str, Json] = {"defense_code": self.defense_code} if trained and self.defense_code else {}
        return who | {
            **code,
            "data": self.data_content,
            "defense": self.defense if trained else "none",
            "defense_params": self.defense_params if trained else {},
            "threat": threat_json(self.threat) if trained else None,
            "training": asdict(self.training),
            "seed": self.seed,
        }

    def plain(self) -> Recipe:
        """The same architecture, data and training settings without the defense."""
        return replace(self, defense="none", defense_params={}, defense_code="", stage="none", threat=None)


def threat_json(threat: ThreatModel | None) -> Json:
    """A training threat as JSON: the norm as a word (infinity is no JSON number), eps as a number."""
    return None if threat is None else {"norm": str(threat.norm), "eps": threat.eps}


@dataclass(frozen=True)
class SubstituteRecipe:
    """A substitute trained from labels that the victim answers, by `advbench.defenses.substitute`.

    student: the architecture, untrained (its training settings are those of `params`). victim: who answers.
    params: the other parameters of that function, defaults filled in.
    """

    student: Recipe
    victim: Recipe
    params: Mapping[str, Json]
    seed: int

    @property
    def key(self) -> str:
        return content_key(self.identity())

    def identity(self) -> dict[str, Json]:
        """The key's pre-image: who learns, who answers, how."""
        who: dict[str, Json] = {
            "schema": 1,
            "labels": self.params,
            "student": self.student.content,
            "victim": self.victim.key,
            "seed": self.seed,
        }
        # The key of a victim that was trained here, on the same images, speaks of them, and none of what wraps it.
        if self.victim.training is None:
            who["data"] = self.student.data_content
        if self.victim.stage == "inference":
            code = [self.victim.defense_code] if self.victim.defense_code else []
            who["defense"] = [self.victim.defense, self.victim.defense_params, *code]
        return who


@dataclass(frozen=True)
class EnsembleRecipe:
    """Several substitutes attacked together, as the mean of their logits."""

    members: tuple[Recipe | SubstituteRecipe, ...]

    @property
    def key(self) -> str:
        return content_key(self.identity())

    def identity(self) -> dict[str, Json]:
        """The key's pre-image: the members, in the order of the file."""
        return {"schema": 1, "ensemble": [{"key": member.key, **member.identity()} for member in self.members]}


def members_of(recipe: Recipe | SubstituteRecipe | EnsembleRecipe | None) -> tuple[Recipe | SubstituteRecipe, ...]:
    """The models to be had for `recipe`: those of an ensemble, or the one."""
    if isinstance(recipe, EnsembleRecipe):
        return recipe.members
    return () if recipe is None else (recipe,)


@dataclass(frozen=True)
class Job:
    """One cell and all that is needed to compute it. labels: the shown model, defense, attack, goal, norm."""

    cell: Cell
    slug: str
    recipe: Recipe
    attack: Choice
    kind: Literal["attack", "control"]
    goal: str
    threat: Threat
    substitute: Recipe | SubstituteRecipe | EnsembleRecipe | None
    explain: tuple[Choice, ...]
    labels: Mapping[str, str]
    data: DataChoice
    precision: str = "float32"
    grid: str = "every"
    budget: int | None = None
    count: int = 0  # samples


@dataclass(frozen=True)
class Skip:
    """A combination that does not apply, and why."""

    labels: Mapping[str, str]
    reason: str


@dataclass(frozen=True)
class Plan:
    """A matrix unfolded: what to run, in this order, and what not. sample_ids: positions in the split, increasing."""

    matrix: Matrix
    jobs: tuple[Job, ...]
    skips: tuple[Skip, ...]
    sample_ids: tuple[int, ...] = field(repr=False, default=())
