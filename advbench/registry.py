"""Where methods are found: a decorator puts a function into its kind's table, under its own name.

A new file in one of the packages below is enough; nothing else is edited. Third parties use the same decorators
in a package of their own and announce its module under an entry point group (`advbench.attacks`, ...).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Generic, Literal, TypeVar, get_args

from advbench.names import nearest
from advbench.plain_images import on_plain_images
from advbench.registration import check_annotated, check_called, code_of, revisions_of
from advbench.types import ConfigError, norm_of

Access = Literal["gradient", "scores", "decision", "none"]
Needs = Literal["", "relu", "maps", "pooled maps", "attention"]
Info = TypeVar("Info")
Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class AttackInfo:
    """What an attack or a control can do.

    minimum_norm: without a radius it returns the nearest example it can find, so that one run serves every radius.
    unbounded: it runs without a radius too, but does not look for the nearest.
    nested: a failure in a ball speaks for the smaller balls inside it.
    ratio: promised on the linear oracle: success wherever eps is that many times the closed-form distance.
    cost: (forwards, backwards) per sample that the default parameters spend at most on a sample that holds.
    structured: its examples are a family of their own (patches, rotations, colours, one perturbation for all), so that
    noise of the same length is no rival to be held against.
    together: the samples of a call are attacked as one set; alone a sample would get another example.
    keeps_label: it changes what is said about x, not its class: the prediction at x_adv is that at x, and robust
    accuracy is not what it is after.
    revisions: by norm, where it is not the first: raised when the same arguments begin to give other results.
    """

    norms: tuple[float, ...]
    access: Access
    paper: str = ""
    minimum_norm: bool = False
    unbounded: bool = False
    nested: bool = False
    ratio: float | None = None
    cost: tuple[int, int] | None = None
    structured: bool = False
    together: bool = False
    keeps_label: bool = False
    revisions: Mapping[float, int] = field(default_factory=dict)

    @property
    def needs_radius(self) -> bool:
        """Must the threat have a radius?"""
        return not (self.minimum_norm or self.unbounded)


@dataclass(frozen=True)
class AttributionInfo:
    """Where a heat map method comes from, and what it needs and promises.

    complete: the map of a sample sums to the score at x minus the score at the method's baseline.
    needs: what a model must have: "relu" (no other activation), "maps" (a layer with rows and columns), "pooled maps"
    (global mean pooling before a linear head), "attention" (a transformer); "" for any differentiable model.
    """

    paper: str = ""
    complete: bool = False
    needs: Needs = ""


@dataclass(frozen=True)
class SynthesisInfo:
    """Where a way to make pictures comes from."""

    paper: str = ""


@dataclass(frozen=True)
class DefenseInfo:
    """A training defense is a loss, an inference defense wraps the model.

    radius: a training defense is against a threat; False if it trains for something else and needs no norm and eps.
    """

    stage: Literal["training", "inference"]
    paper: str = ""
    radius: bool = True


@dataclass(frozen=True)
class ModelInfo:
    """An architecture that `load_model` can build."""

    paper: str = ""


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset that `load_dataset` can read: its image shape (C, H, W) and number of classes, if fixed."""

    shape: tuple[int, int, int] | None = None
    classes: int | None = None
    source: str = ""


@dataclass(frozen=True)
class Entry(Generic[Info]):
    """One registered function. code: what that of a third party is known by (`code_of`), "" for ours."""

    name: str
    function: Callable[..., object]
    info: Info
    code: str = ""

    @property
    def summary(self) -> str:
        """First line of the module's docstring, or else of the function's."""
        module = inspect.getmodule(self.function)
        text = (module.__doc__ if module else None) or self.function.__doc__ or ""
        return text.strip().split("\n")[0]

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The keyword-only parameters a user may set, in order (draws, targeted and x_start belong to the runner)."""
        return {parameter.name: parameter for parameter in self.settable(evaluated=True)}

    def settable(self, *, evaluated: bool = False) -> list[inspect.Parameter]:
        """The same as a list; evaluated: annotations that are text become the types they name."""
        return [
            parameter
            for name, parameter in inspect.signature(self.function, eval_str=evaluated).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name not in ("draws", "targeted", "x_start", "seed")
        ]

    def takes(self, name: str) -> bool:
        """Is there a parameter of this name: `targeted` (can it be aimed?), `x_start` (told where to begin)?"""
        return name in inspect.signature(self.function).parameters


class Registry(Generic[Info]):
    """The table of one kind. `load` imports its packages once; lookups of unknown names suggest near ones."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._entries: dict[str, Entry[Info]] = {}
        self._loaded = False

    def register(self, info: Info) -> Callable[[Function], Function]:
        def decorate(function: Function) -> Function:
            name = function.__name__
            known = self._entries.get(name)
            if known is not None and known.function.__module__ != function.__module__:
                raise ValueError(
                    f"two {self.kind}s are named {name!r}: {known.function.__module__} and {function.__module__}"
                )
            entry = Entry(name, function, info, code_of(function))
            check_annotated(name, entry.settable())
            self._entries[name] = entry
            return function

        return decorate

    def load(self) -> None:
        """Import every module of the package, then the entry points of third parties."""
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in pkgutil.walk_packages(package.__path__, f"{self.package}."):
            importlib.import_module(module.name)
        for point in entry_points(group=self.package):
            point.load()

    def __iter__(self) -> Iterator[Entry[Info]]:
        self.load()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def names(self) -> list[str]:
        return [entry.name for entry in self]

    def __contains__(self, name: object) -> bool:
        self.load()
        return name in self._entries

    def entry_of(self, function: object) -> Entry[Info] | None:
        """The entry of a function that is at hand: the module that registers it has been imported."""
        return next((entry for entry in self._entries.values() if entry.function is function), None)

    def __getitem__(self, name: str) -> Entry[Info]:
        self.load()
        if name not in self._entries:
            raise _no_such(self.kind, name, self.names())
        return self._entries[name]


def attack_or_control(name: str) -> Entry[AttackInfo]:
    """The attack or the control of that name. Raises ConfigError, with the nearest of both, if it is neither."""
    for table in (CONTROLS, ATTACKS):
        if name in table:
            return table[name]
    raise _no_such("attack", name, [*ATTACKS.names(), *CONTROLS.names()])


def _no_such(kind: str, name: object, names: list[str]) -> ConfigError:
    """What is wrong with a name: it is no text, that of another kind of thing, or of nothing."""
    if not isinstance(name, str):
        return ConfigError(f"{_article(kind)} is asked for by its name, got {type(name).__name__}")
    everywhere = f"All: advbench list {plural(kind)}"
    others = [table.kind for table in _TABLES if table.kind != kind and name in table]
    if others:
        shown = f"advbench show {others[0]} {name}"
        return ConfigError(f"{name!r} is {_article(others[0])}, not {_article(kind)}: see {shown}. {everywhere}")
    return ConfigError(f"no {kind} named {name!r}; {nearest(name, names)}{everywhere}")


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def plural(kind: str) -> str:
    """Of the kinds of things there are."""
    return "syntheses" if kind == "synthesis" else f"{kind}s"


ATTACKS: Registry[AttackInfo] = Registry("attack", "advbench.attacks")
CONTROLS: Registry[AttackInfo] = Registry("control", "advbench.controls")
ATTRIBUTIONS: Registry[AttributionInfo] = Registry("attribution", "advbench.attributions")
SYNTHESES: Registry[SynthesisInfo] = Registry("synthesis", "advbench.synthesis")
DEFENSES: Registry[DefenseInfo] = Registry("defense", "advbench.defenses")
MODELS: Registry[ModelInfo] = Registry("model", "advbench.models")
DATASETS: Registry[DatasetInfo] = Registry("dataset", "advbench.datasets")
_TABLES = (ATTACKS, CONTROLS, ATTRIBUTIONS, SYNTHESES, DEFENSES, MODELS, DATASETS)


def attack(
    *,
    norms: tuple[float, ...],
    access: Access,
    paper: str = "",
    minimum_norm: bool = False,
    unbounded: bool = False,
    nested: bool = False,
    ratio: float | None = None,
    cost: tuple[int, int] | None = None,
    structured: bool = False,
    together: bool = False,
    keeps_label: bool = False,
    revision: int | Mapping[float, int] = 1,
) -> Callable[[Function], Function]:
    """Register `(model, x, y, threat, *, draws, targeted=False, ...) -> x_adv` under its own name: see `AttackInfo`."""
    if access not in get_args(Access):
        raise ValueError(f"access must be one of {', '.join(get_args(Access))}, got {access!r}")
    places = tuple(map(norm_of, norms))
    revised = revisions_of(revision, places)
    info = AttackInfo(
        places, access, paper, minimum_norm, unbounded, nested, ratio, cost, structured, together, keeps_label, revised
    )
    return lambda function: ATTACKS.register(info)(on_plain_images(check_called(function)))


def control(*, norms: tuple[float, ...], paper: str = "") -> Callable[[Function], Function]:
    """Register a perturbation without information: same signature as an attack."""
    info = AttackInfo(tuple(map(norm_of, norms)), "none", paper)
    return lambda function: CONTROLS.register(info)(on_plain_images(check_called(function)))


def attribution(*, paper: str = "", complete: bool = False, needs: Needs = "") -> Callable[[Function], Function]:
    """Register `(model, x, y, *, draws, ...) -> signed map (B, C, H, W) or (B, 1, H, W)`: see `AttributionInfo`."""
    return ATTRIBUTIONS.register(AttributionInfo(paper, complete, needs))


def synthesis(*, paper: str = "") -> Callable[[Function], Function]:
    """Register `(model, ..., *, draws, ...) -> images (B, C, H, W)`."""
    return SYNTHESES.register(SynthesisInfo(paper))


def defense(
    *, stage: Literal["training", "inference"], paper: str = "", radius: bool = True
) -> Callable[[Function], Function]:
    """Register a loss `(model, x, y, threat, *, draws, ...) -> scalar` or a wrapper `(model, ...) -> model`."""
    return DEFENSES.register(DefenseInfo(stage, paper, radius))


def model(*, paper: str = "") -> Callable[[Function], Function]:
    """Register an architecture `(shape, classes, ...) -> nn.Module` mapping [0, 1] images to logits."""
    return MODELS.register(ModelInfo(paper))


def dataset(
    *, shape: tuple[int, int, int] | None = None, classes: int | None = None, source: str = ""
) -> Callable[[Function], Function]:
    """Register a reader `(split, *, root, download) -> Dataset`."""
    return DATASETS.register(DatasetInfo(shape, classes, source))
